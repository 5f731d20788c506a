"""What the service counts about itself, for Prometheus: numbers only, and nothing about any person."""
