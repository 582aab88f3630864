"""How long the operations and the work made of them take, beside their textbook forms."""
