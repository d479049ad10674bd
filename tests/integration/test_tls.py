"""What TLS agrees to: OpenSSL's own client tries, and first messages of our own do where it has no words for it any more."""
import os
import re
import socket
import subprocess
import uuid

import pytest

from support.kernelspecs import Specs
from support.processes import wait_until
from support.tls import Authority, TlsGateway

RSA = ("rsa:2048",)  # so that key exchange with the certificate's key would be possible
REQUEST = "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
EVERYTHING = "ALL:COMPLEMENTOFALL:@SECLEVEL=0"  # of the client: what is refused then the server refuses
GOOD = ("ECDHE-RSA-AES256-GCM-SHA384", "ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-RSA-CHACHA20-POLY1305")
SSL3, TLS10, TLS11, TLS12 = 0x300, 0x301, 0x302, 0x303
HANDSHAKE_FAILURE, PROTOCOL_VERSION = 40, 70  # RFC 8446, 6


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    lab = Authority(tmp_path_factory.mktemp("tls") / "lab")
    lab.make("middle", "basicConstraints=critical,CA:TRUE", key=RSA)
    return lab


def put_certificate(lab, folder):
    """A certificate with the one between it and the authority behind it, as folder/chain.pem and folder/key.pem; returns its serial."""
    certificate, key = lab.make("gateway", "subjectAltName=IP:127.0.0.1", issuer="middle", key=RSA)
    (folder / "new").write_bytes(open(certificate, "rb").read() + (lab.folder / "middle.pem").read_bytes() + open(key, "rb").read())
    (folder / "new").rename(folder / "chain.pem")  # with its key, so that both change at once
    return subprocess.run(["openssl", "x509", "-noout", "-serial", "-in", certificate], capture_output=True, text=True, check=True).stdout


def start(build, lab, folder, *flags):
    put_certificate(lab, folder)
    gateway = TlsGateway(build, Specs(folder / "kernels", build), "--certfile", str(folder / "chain.pem"), *flags)
    gateway.ca, gateway.cert = lab.file, lab.make("alice")
    return gateway


@pytest.fixture(scope="module")
def gateway(build, lab, tmp_path_factory):
    with start(build, lab, tmp_path_factory.mktemp("gateway")) as gateway:
        yield gateway


def client(gateway, *flags, say=REQUEST):
    """All that `openssl s_client` prints."""
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{gateway.port}", "-CAfile", gateway.ca, *flags]
    command += ["-ign_eof"] if say != "R\n" else []  # which has it listen to no command
    done = subprocess.run(command, input=say, capture_output=True, text=True, timeout=30)
    return done.stdout + done.stderr


def agreed(output):
    """(version, cipher) of a request that was answered."""
    assert "\nHTTP/1.1 200" in output, output
    return re.search(r"^New, (\S+), Cipher is (\S+)$", output, re.MULTILINE).groups()


def refused(output):
    """The alert that the gateway has sent."""
    assert "HTTP/1.1" not in output
    alert = re.search(r"SSL alert number (\d+)", output)
    assert alert, f"the client gave up by itself:\n{output}"
    return int(alert[1])


def block(size, data):
    return len(data).to_bytes(size, "big") + data


def first_message(gateway, version, *suites, compression=b"\0"):
    """("alert", number), or ("hello", version, suite, compression) that the server has chosen."""
    groups, signatures = bytes.fromhex("0017001d0018"), bytes.fromhex("0401080405010201")  # with RSA and SHA-1
    extensions = b"\0\x0a" + block(2, block(2, groups)) + b"\0\x0b" + block(2, b"\1\0") + b"\0\x0d" + block(2, block(2, signatures))
    hello = version.to_bytes(2, "big") + os.urandom(32) + b"\0" + block(2, b"".join(suite.to_bytes(2, "big") for suite in suites))
    hello += block(1, compression) + block(2, extensions)
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=10) as connection:
        connection.sendall(b"\x16\3\0" + block(2, b"\1" + block(3, hello)))
        stream = connection.makefile("rb")
        kind, length = stream.read(5)[0], 0
        if kind == 0x15:
            return "alert", stream.read(2)[1]
        assert stream.read(4)[0] == 2
        chosen, length = stream.read(2), stream.read(33)[32]
        end = stream.read(length + 3)[length:]
        return "hello", int.from_bytes(chosen, "big"), int.from_bytes(end[:2], "big"), end[2]


@pytest.mark.parametrize("flag, version", [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")])
def test_versions_that_are_spoken(gateway, flag, version):
    assert agreed(client(gateway, flag, "-cipher", EVERYTHING))[0] == version


@pytest.mark.parametrize("flag", ["-tls1", "-tls1_1"])
def test_versions_that_are_not(gateway, flag):
    assert refused(client(gateway, flag, "-cipher", EVERYTHING)) == PROTOCOL_VERSION


@pytest.mark.parametrize("version, alert", [(SSL3, HANDSHAKE_FAILURE), (TLS10, PROTOCOL_VERSION), (TLS11, PROTOCOL_VERSION)])
def test_first_messages_of_old_versions(gateway, version, alert):
    assert first_message(gateway, version, 0xC013, 0xC014, 0x2F, 0x35, 0x0A) == ("alert", alert)


def test_a_version_below_what_both_know_is_refused(gateway):
    """RFC 7507: somebody between them made it so."""
    assert refused(client(gateway, "-tls1_2", "-fallback_scsv")) == 86


@pytest.mark.parametrize("cipher", GOOD)
def test_ciphers_of_tls_1_2(gateway, cipher):
    assert agreed(client(gateway, "-tls1_2", "-cipher", cipher)) == ("TLSv1.2", cipher)


@pytest.mark.parametrize("cipher", ["TLS_AES_256_GCM_SHA384", "TLS_AES_128_GCM_SHA256", "TLS_CHACHA20_POLY1305_SHA256"])
def test_ciphers_of_tls_1_3(gateway, cipher):
    assert agreed(client(gateway, "-tls1_3", "-ciphersuites", cipher)) == ("TLSv1.3", cipher)


def ciphers_of_the_client():
    words = subprocess.run(["openssl", "ciphers", "-s", "-tls1_2", EVERYTHING], capture_output=True, text=True, check=True).stdout
    return words.strip().split(":")


WEAK = {
    "key exchange with the certificate's key": lambda name: not re.match("A?(EC)?DHE?-|A?EC?DH-|(DHE-|RSA-|ECDHE-)?PSK|SRP", name),
    "CBC": lambda name: not re.search("GCM|CCM|POLY1305|NULL", name),
    "NULL": lambda name: "NULL" in name,
    "anonymous": lambda name: name.startswith(("ADH", "AECDH")),
    "finite fields": lambda name: name.startswith("DHE"),
    "all but the good ones": lambda name: name not in GOOD,
}


@pytest.mark.parametrize("kind", WEAK)
def test_weak_ciphers_are_refused(gateway, kind):
    weak = [name for name in ciphers_of_the_client() if WEAK[kind](name)]
    assert weak and not set(weak) & set(GOOD)
    assert refused(client(gateway, "-tls1_2", "-cipher", ":".join(weak) + ":@SECLEVEL=0")) == HANDSHAKE_FAILURE


@pytest.mark.parametrize("suites", [(0x04, 0x05, 0xC011), (0x0A, 0x16, 0xC012), (0x09, 0x15), (0x03, 0x06, 0x08, 0x14), (0x01, 0x02), (0x2F, 0x35),
                                    (0x9C, 0x9D), (0xC013, 0xC014, 0xC027, 0xC028), (0x18, 0x34, 0xC018)],
                         ids=["RC4", "3DES", "DES", "EXPORT", "NULL", "RSA-CBC", "RSA-GCM", "ECDHE-CBC", "anonymous"])
def test_first_messages_with_weak_ciphers(gateway, suites):
    assert first_message(gateway, TLS12, *suites) == ("alert", HANDSHAKE_FAILURE)


def test_the_server_chooses_the_cipher(gateway):
    both = "ECDHE-RSA-AES128-GCM-SHA256:ECDHE-RSA-AES256-GCM-SHA384"
    assert agreed(client(gateway, "-tls1_2", "-cipher", both))[1] == "ECDHE-RSA-AES256-GCM-SHA384"
    assert first_message(gateway, TLS12, 0x2F, 0xC013, 0xC02F) == ("hello", TLS12, 0xC02F, 0)


@pytest.mark.parametrize("group", ["X25519", "P-256", "P-384"])
def test_groups(gateway, group):
    assert agreed(client(gateway, "-groups", group))[0] == "TLSv1.3"


@pytest.mark.parametrize("flags", [("-groups", "P-192"), ("-groups", "P-224"), ("-sigalgs", "RSA+SHA1")])
def test_weak_groups_and_signatures_are_refused(gateway, flags):
    assert refused(client(gateway, "-tls1_2", "-cipher", EVERYTHING, *flags)) == HANDSHAKE_FAILURE


def test_renegotiation_is_refused(gateway):
    output = client(gateway, "-tls1_2", say="R\n")
    assert "Secure Renegotiation IS supported" in output and "RENEGOTIATING" in output
    assert "no renegotiation" in output


def test_nothing_is_compressed(gateway):
    for version in ("-tls1_2", "-tls1_3"):
        assert "\nCompression: NONE\n" in client(gateway, version, "-comp")
    assert first_message(gateway, TLS12, 0xC02F, compression=b"\1\0") == ("hello", TLS12, 0xC02F, 0)


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_no_session_is_taken_up_again(gateway, version, tmp_path):
    output = client(gateway, version, "-sess_out", str(tmp_path / "session"))
    assert agreed(output) and "ession ticket" not in output and "Session Ticket arrived" not in output
    if (tmp_path / "session").exists():
        assert agreed(client(gateway, version, "-sess_in", str(tmp_path / "session")))


@pytest.mark.parametrize("name", [("-noservername",), ("-servername", "gateway"), ("-servername", "elsewhere.example")])
def test_the_whole_chain_for_every_name(gateway, name):
    output = client(gateway, "-showcerts", "-verify_return_error", "-verify_ip", "127.0.0.1", *name)
    assert agreed(output) and "Verify return code: 0 (ok)" in output
    assert re.findall(r"^ ?\d s:CN = (\w+)", output, re.MULTILINE) == ["gateway", "middle"]


def test_a_client_hears_to_come_by_tls(gateway):
    assert "\nStrict-Transport-Security: max-age=2592000" in client(gateway)


def test_a_page_of_our_name_that_did_not_come_by_tls(gateway):
    """Whoever is in the network can show one."""
    plain, upgrade = f"http://127.0.0.1:{gateway.port}", {"Upgrade": "websocket", "Connection": "Upgrade"}
    for origin, status in ((gateway.base, 200), (plain, 404)):
        assert gateway.get("/api/kernels", headers={"Origin": origin}).status_code == status
    for origin, status in ((gateway.base, 404), (plain, 403)):
        assert gateway.get(f"/api/kernels/{uuid.uuid4()}/channels", headers={"Origin": origin, **upgrade}).status_code == status


def test_a_certificate_that_changes(build, lab, tmp_path):
    with start(build, lab, tmp_path) as gateway:
        def serves(serial):
            chain = client(gateway)
            leaf = re.search("-----BEGIN.*?END CERTIFICATE-----\n", chain, re.DOTALL)[0]
            return subprocess.run(["openssl", "x509", "-noout", "-serial"], input=leaf, capture_output=True, text=True).stdout == serial
        serial = put_certificate(lab, tmp_path)
        wait_until(lambda: serves(serial), 20, "the new certificate")


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_clients_without_a_certificate_of_the_authority(build, lab, tmp_path, version):
    with start(build, lab, tmp_path, "--client-ca", lab.file) as gateway:
        stranger, key = Authority(tmp_path / "elsewhere").make("alice")
        output = client(gateway, version, "-cert", gateway.cert[0], "-key", gateway.cert[1])
        assert agreed(output) and re.search("Acceptable client certificate CA names\nCN = lab\n", output)
        assert refused(client(gateway, version, say="")) in (HANDSHAKE_FAILURE, 116)  # certificate_required
        assert refused(client(gateway, version, "-cert", stranger, "-key", key, say="")) == 51  # decrypt_error: one of the same name
