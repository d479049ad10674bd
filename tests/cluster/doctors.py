"""What tests of `elara doctor` share where kernels are pods."""
import contextlib
import secrets
import subprocess


def text(findings, check):
    return "\n".join(f"{each['state']}: {each['text']}" for each in findings[check])


def failed(findings):
    return {check for check, found in findings.items() for each in found if each["state"] == "fail"}


@contextlib.contextmanager
def filtered(hook, match, verdict):
    """What goes through that hook of this machine's packet filter, and matches, meets that end."""
    table = f"elara_doctor_{secrets.token_hex(4)}"
    rule = (f"add table inet {table}; add chain inet {table} faults {{ type filter hook {hook} priority 0; }}; "
            f"add rule inet {table} faults {match} {verdict}")
    subprocess.run(["nft", rule], check=True)
    try:
        yield
    finally:
        subprocess.run(["nft", f"delete table inet {table}"], check=True)
