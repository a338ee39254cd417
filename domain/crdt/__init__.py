"""What the Yjs update encoding means to culm: its bytes are measured and checked here before pycrdt sees them.

The package reads bytes and never builds a document; `domain.document` does that, with pycrdt.
"""
