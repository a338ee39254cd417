"""Operations: p2panda-core v1 headers with culm's extension, their kinds, and the bodies of control operations."""
