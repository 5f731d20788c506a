"""What every page stands on: who is looking and how, rendering, messages and formats, the menu, what browsers load."""
