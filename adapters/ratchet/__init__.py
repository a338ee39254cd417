"""Pairwise sessions by X3DH and the double ratchet, as the packages X3DH and DoubleRatchet have them."""
