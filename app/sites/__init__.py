"""Sites: the places where attendance is taken, their clocks and their holidays."""
