"""Migrations and topic provisioning."""
