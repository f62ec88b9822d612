"""Flask code that belongs to no capability; it imports none of them."""
