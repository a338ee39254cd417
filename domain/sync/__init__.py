"""How two peers bring each other up to date about one document, and stay so."""
