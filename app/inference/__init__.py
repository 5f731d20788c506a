"""Images in, samples out: the one door through which the application reaches the networks."""
