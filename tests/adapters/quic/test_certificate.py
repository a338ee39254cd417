from adapters.quic.certificate import make_certificate
from domain.identity import DeviceKey


def test_the_certificate_carries_the_device_key() -> None:
    key = DeviceKey(b"k" * 32)
    certificate, private_key = make_certificate(key)
    assert private_key.public_key().public_bytes_raw() == key.peer
    assert certificate.public_key() == private_key.public_key()
    certificate.verify_directly_issued_by(certificate)


def test_the_same_key_always_has_the_same_certificate() -> None:
    first, second = (make_certificate(DeviceKey(b"k" * 32))[0] for _ in range(2))
    assert first == second
