"""Intuit webhooks, verified, split and republished."""
