"""Who is in this picture: decode, analyse, search, decide, answer."""
