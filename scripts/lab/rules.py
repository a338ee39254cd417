"""The kernel's NAT, made to behave as boxes do: nftables rules by type (RFC 4787).

What makes them work was found by trying: a bare masquerade is not endpoint-independent, since what comes unasked is
given to the box itself and takes the mapping's port; so that is dropped. Rules do not touch mappings that are there:
flush conntrack after loading. `chain fwd` is no name, `fwd` being a word of nft.
"""

from typing import Final

_FILTER: Final = """
table ip filter {
  chain in { type filter hook input priority filter; policy accept;
    iifname "wan" ct state new drop
  }
  chain forward { type filter hook forward priority filter; policy accept;
    @BLOCK@
    @NEW@
    iifname "wan" ct state new drop
    ct state invalid drop
  }
}
"""
_LEARN: Final = """
    oifname "wan" meta l4proto udp update @eim { udp sport : ct original ip saddr . ct original proto-src }
"""
_EIM: Final = "map eim { typeof udp sport : ip saddr . udp sport; flags dynamic,timeout; timeout 120s; size 65535; }"
_ADF: Final = (
    "set adf { typeof ip daddr . udp sport; flags dynamic,timeout; timeout 120s; size 65535; }"
)
_DNAT: Final = "meta l4proto udp @FROM@ dnat ip to udp dport map @eim"


def _table(
    source_nat: str, *, learnt: str = "", pre: str = "", learn: str = "", post: str = ""
) -> str:
    return f"""
table ip nat {{
  {learnt}
  chain pre {{ type nat hook prerouting priority dstnat; policy accept;
    {pre}
  }}
  chain post {{ type nat hook postrouting priority srcnat; policy accept;
    {source_nat}
    {post}
  }}
  chain learn {{ type filter hook postrouting priority 110; policy accept;
    {learn}
  }}
}}
"""


def _filter(*, new: str = "", block: str = "") -> str:
    return _FILTER.replace("@NEW@", new).replace("@BLOCK@", block)


MASQUERADE: Final = 'oifname "wan" masquerade'
_ACCEPT_NEW: Final = 'iifname "wan" ct state new ct status dnat accept'
_REMAP: Final = (
    'oifname "wan" meta l4proto udp snat ip to @PUB@:@PORTS@\n    oifname "wan" masquerade'
)
RULES: Final = {
    "none": _table(MASQUERADE.replace("masquerade", "accept")),
    "full-cone": _table(
        MASQUERADE,
        learnt=_EIM,
        pre='iifname "wan" ip daddr @PUB@ ' + _DNAT.replace("@FROM@", ""),
        learn=_LEARN,
    )
    + _filter(new=_ACCEPT_NEW),
    "address-restricted": _table(
        MASQUERADE,
        learnt=f"{_EIM}\n  {_ADF}",
        pre='iifname "wan" ip daddr @PUB@ ' + _DNAT.replace("@FROM@", "ip saddr . udp dport @adf"),
        learn=_LEARN + '    oifname "wan" meta l4proto udp update @adf { ip daddr . udp sport }',
    )
    + _filter(new=_ACCEPT_NEW),
    "port-restricted": _table(MASQUERADE) + _filter(),
    "port-restricted-remapping": _table(_REMAP) + _filter(),
    "symmetric": _table(MASQUERADE + " fully-random") + _filter(),
    "symmetric-forwarding": _table(MASQUERADE + " fully-random") + _filter(new=_ACCEPT_NEW),
    "udp-blocked": _table(MASQUERADE) + _filter(block='oifname "wan" meta l4proto udp drop'),
    "only-tls": _table(MASQUERADE)
    + _filter(
        block='oifname "wan" meta l4proto udp drop\n    oifname "wan" tcp dport != 5349 drop'
    ),
    "full-cone-hairpin": _table(
        MASQUERADE,
        learnt=_EIM,
        pre="ip daddr @PUB@ " + _DNAT.replace("@FROM@", ""),
        learn=_LEARN,
        post='oifname "lan" ip saddr @LAN@ ct status dnat snat ip to @PUB@',
    )
    + _filter(new="ct state new ct status dnat accept"),
}
"""By type; `@PUB@` is the box's address outside, `@LAN@` its network inside, `@PORTS@` where it takes ports from."""
TYPES: Final = ("full-cone", "address-restricted", "port-restricted", "symmetric")


def rules(kind: str, *, public: str, lan: str, ports: str = "10000-19999") -> str:
    """The rules of a box, for `nft -f`."""
    text = RULES[kind].replace("@PUB@", public).replace("@LAN@", lan).replace("@PORTS@", ports)
    return f"flush ruleset\n{text}"
