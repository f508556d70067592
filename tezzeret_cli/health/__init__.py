"""How the forge is doing: circuit breakers, and the mode that follows from them."""
