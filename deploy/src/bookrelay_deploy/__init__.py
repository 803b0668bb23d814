"""What a deployment needs beside the services: migrations, topics, the settings' reference, the contracts' documents."""
