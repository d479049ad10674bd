"""Service accounts of the real API server as users: whom it knows, and what of it the gateway believes."""
import pytest

from kernels import *  # noqa: F403
from kernels import START_S, Client, make_gateway
from support.processes import wait_until

AUDIENCE = "elara-test"


def make_account(kube, namespace, name):
    kube.create({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}}, namespace)
    return name


def token_of(kube, namespace, name, audience=None):
    """As the kubelet asks for a pod's (TokenRequest)."""
    spec = {"expirationSeconds": 3600} | ({"audiences": [audience]} if audience else {})
    path = kube.location("ServiceAccount", name, namespace) + "/token"
    answer = kube.request("POST", path, {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec})
    return answer.json()["status"]["token"]


def by(token):
    return {"Authorization": f"Bearer {token}"}


def refusal(gateway, token, code=401):
    answer = gateway.get("/api/me", headers=by(token))
    assert answer.status_code == code, answer.text
    return answer.json()["message"]


def name_of(gateway, token):
    answer = gateway.get("/api/me", headers=by(token))
    assert answer.status_code == 200, answer.text
    return answer.json()["identity"]["username"]


@pytest.fixture
def start(start_gateway, places):
    def start_one(*flags, **options):
        return start_gateway("--token-review", "--token-review-namespaces", places[1], "--auth-cache", "1s", *flags, **options)
    return start_one


def test_a_kernels_pod_is_its_accounts_user(start, specs, kube, places):
    """The token that the kubelet puts into a pod; a kernel's here, as a notebook server's is."""
    make_account(kube, places[1], "anna")
    specs.add("python3", serviceAccountName="anna", automountServiceAccountToken=True)
    gateway = start("--admin-users", "ops")
    make_account(kube, places[1], "ops")
    gateway.token = token_of(kube, places[1], "ops")
    kernel_id = gateway.start_kernel("python3")["id"]
    with Client(gateway, kernel_id, timeout=START_S) as client:
        token = client.run_cell("print(open('/var/run/secrets/kubernetes.io/serviceaccount/token').read())").text().strip()
    assert name_of(gateway, token) == "anna"
    assert gateway.get(f"/api/kernels/{kernel_id}", headers=by(token)).status_code == 404  # it is of ops
    assert gateway.delete(f"/api/kernels/{kernel_id}").status_code == 204
    assert token not in gateway.log()


def test_which_accounts_count(start, kube, places):
    """For an audience of the gateway's own; a deleted account ends with auth-cache."""
    gateway = start("--token-review-audiences", AUDIENCE)
    bert, other = make_account(kube, places[1], "bert"), make_account(kube, places[0], "bert")
    token = token_of(kube, places[1], bert, AUDIENCE)
    assert name_of(gateway, token) == "bert"
    assert refusal(gateway, token_of(kube, places[1], bert)) == "the token is not known"  # it is for the API server
    assert f"is of namespace {places[0]}, which is none of token-review-namespaces" in refusal(
        gateway, token_of(kube, places[0], other, AUDIENCE))
    assert '"default", cannot be an owner\'s' in refusal(gateway, token_of(kube, places[1], "default", AUDIENCE))
    assert refusal(gateway, token[:-8] + "AAAAAAAA") == "the token is not known"
    kube.delete("ServiceAccount", bert, places[1])
    wait_until(lambda: gateway.get("/api/me", headers=by(token)).status_code == 401, 30, "the end of the account's token")


def test_accounts_of_one_name_are_two_users(start, kube, places):
    gateway = start("--token-review-namespaces", ",".join(places[:2]), "--admin-users", f"{places[0]}.anna")
    here, there = (token_of(kube, place, make_account(kube, place, "anna")) for place in places[:2])
    assert [name_of(gateway, token) for token in (here, there)] == [f"{place}.anna" for place in places[:2]]
    assert '"default", cannot be an owner\'s' in refusal(gateway, token_of(kube, places[0], "default"))


def test_a_missing_right_is_named(build, cluster, kube, specs, places, launcher_image, tmp_path):
    """The gateway's own account may do nothing here, not even look after kernels."""
    account = make_account(kube, places[0], "gateway")
    poor = kube.service_account(places[0], account, tmp_path / "config").path
    gateway = make_gateway(build, specs, places, launcher_image, poor, "--token-review", "--token-review-namespaces", places[1])
    gateway.arguments = ("--provisioner", "local", *gateway.arguments[2:])
    with gateway:
        message = refusal(gateway, token_of(kube, places[1], "default"), 503)
    assert message.startswith("the API server cannot be asked whose the token is: ")
    assert f"system:serviceaccount:{places[0]}:gateway may not create tokenreviews" in message
    assert 'the ClusterRole elara-token-review has to grant it (apiGroups: ["authentication.k8s.io"], resources: ["tokenreviews"], verbs: ["create"])' in message
