"""QUIC between nodes: one UDP socket, authenticated connections, channels with real back-pressure.

What it does not know: documents, operations, who may do what, whether and when to dial again.
"""
