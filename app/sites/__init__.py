"""Sites: places with a clock on the wall, and their holidays."""
