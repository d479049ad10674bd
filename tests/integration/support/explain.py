"""What `elara policy explain` says of a request that a gateway is asked, too."""
import json
import os
import subprocess


def explain(gateway, name, env, *flags, user=None):
    """Its answer as a tree (as text with flags), with the gateway's own flags and variables."""
    request = gateway.home / "request.json"
    request.write_text(json.dumps({"name": name, "env": env}))
    settings = gateway.command()[len(gateway.prefix) + 1:]
    done = subprocess.run([gateway.build / "elara", "policy", "explain", "--request", str(request), *(flags or ["--json"]),
                           *(["--user", user] if user else []), *settings],
                          capture_output=True, text=True, timeout=60, env={"PATH": os.environ["PATH"], **gateway.environment})
    assert done.returncode in (0, 1), done.stderr
    if flags:
        return done.stdout
    answer = json.loads(done.stdout)
    assert answer["allowed"] == (done.returncode == 0)
    return answer


def assert_explained(gateway, answer, name, env, user=None):
    """The gateway's answer to a POST is the one that was foretold."""
    told = explain(gateway, name, env, user=user)
    assert told["status"] == answer.status_code, (env, told, answer.text)
    assert told["allowed"] or told["message"] == answer.json()["message"], (env, told, answer.text)
    return told


def field(told, name):
    (line,) = [line for line in told["fields"] if line["field"] == name]
    return line["value"], line["said_by"], line["allowed_by"]


def assert_foretold(told, pod):
    """What the API server has is what was told, but for its defaults and what only a start knows."""
    spec = dict(pod["spec"], volumes=[volume for volume in pod["spec"]["volumes"] if not volume["name"].startswith("kube-api-access")])
    for volume in told["spec"]["volumes"]:
        volume.get("secret", {}).pop("secretName", None)
    assert contains(spec, told["spec"]), (told["spec"], spec)


def contains(whole, part):
    if isinstance(part, dict):
        return isinstance(whole, dict) and all(contains(whole.get(name, False), value) for name, value in part.items())
    if isinstance(part, list):
        return len(whole) == len(part) and all(map(contains, whole, part))
    return whole == part
