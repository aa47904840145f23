import ipaddress

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from e2e.cluster.certificates import CertificateAuthority


def names(certificate: x509.Certificate, oid: x509.ObjectIdentifier) -> list[str]:
    return [str(attribute.value) for attribute in certificate.subject.get_attributes_for_oid(oid)]


def test_a_client_certificate_says_user_and_groups_and_is_good_for_nothing_else() -> None:
    pair = CertificateAuthority.create("authority").issue_client("ada", groups=("staff", "owners"))
    certificate = x509.load_pem_x509_certificate(pair.certificate)
    assert names(certificate, NameOID.COMMON_NAME) == ["ada"]
    assert names(certificate, NameOID.ORGANIZATION_NAME) == ["staff", "owners"]
    usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    assert not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


def test_a_server_certificate_names_its_hosts_and_addresses() -> None:
    pair = CertificateAuthority.create("authority").issue_server(
        "kube-apiserver", hosts=["localhost"], addresses=["127.0.0.1"]
    )
    certificate = x509.load_pem_x509_certificate(pair.certificate)
    alternatives = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert alternatives.get_values_for_type(x509.DNSName) == ["localhost"]
    assert alternatives.get_values_for_type(x509.IPAddress) == [ipaddress.ip_address("127.0.0.1")]


def test_one_authority_does_not_vouch_for_what_another_issued() -> None:
    ours, theirs = CertificateAuthority.create("same name"), CertificateAuthority.create("same name")
    certificate = x509.load_pem_x509_certificate(ours.issue_client("ada").certificate)
    certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(ours.certificate))
    try:
        certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(theirs.certificate))
    except Exception as error:
        assert type(error).__name__ == "InvalidSignature"
    else:
        raise AssertionError("a foreign authority's signature was accepted")
