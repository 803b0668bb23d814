"""Where clients come in over HTTP: Sheets v4 and Drive v3, a module for each resource of Google's, and who may ask for what."""
