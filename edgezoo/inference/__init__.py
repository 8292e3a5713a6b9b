"""From pixels through a session to probabilities and class names."""
