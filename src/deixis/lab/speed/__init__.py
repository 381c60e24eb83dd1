"""How fast the engine is: the same questions asked of it and of its peers, beside what the machine could do at most."""
