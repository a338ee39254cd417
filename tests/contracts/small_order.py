"""Public keys of small order: what they agree on, anybody knows (the low-order points of Wycheproof's x25519 vectors).

Both encodings of the coordinate count, below and above the prime.
"""

_PRIME = 2**255 - 19
_EIGHT = (
    "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
    "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
)
SMALL_ORDER_X25519 = (
    *((number).to_bytes(32, "little") for number in (0, 1, _PRIME - 1, _PRIME, _PRIME + 1)),
    *(bytes.fromhex(text) for text in _EIGHT),
)

SMALL_ORDER_ED25519 = tuple(
    bytes.fromhex(text)
    for text in (
        "0100000000000000000000000000000000000000000000000000000000000000",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0000000000000000000000000000000000000000000000000000000000000080",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    )
)
