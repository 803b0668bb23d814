"""The double entry: postings of the stored documents, their audit, and what is read from them. It changes no document."""
