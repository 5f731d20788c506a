"""The service around `ml`: HTTP, database, keys and jobs. `app` imports `ml`, never the other way."""

__version__ = "0.1.0"
