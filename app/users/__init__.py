"""People who sign in to the dashboard: accounts, passwords and sessions."""
