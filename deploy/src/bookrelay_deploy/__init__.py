"""What a deployment needs besides the services: migrations, topics, the settings reference, the contract documents."""
