"""elara migrate: set-ups of Jupyter Enterprise Gateway as they are found, turned into settings that a gateway takes."""
import json
import subprocess
import tempfile

import pytest

# A lab with the Helm chart: JupyterHub, NFS homes, kernels in pods.
LAB = """
mirrorWorkingDirs: true
service:
  type: LoadBalancer
  ports:
    - {name: http, port: 8888, targetPort: 8888}
    - {name: http-response, port: 8877, targetPort: 8877}
deployment:
  replicas: 1
  resources: {limits: {cpu: 1, memory: 5Gi}, requests: {cpu: 1, memory: 2Gi}}
  terminationGracePeriodSeconds: 60
  extraEnv: {EG_INHERITED_ENVS: "PATH", EG_SENSITIVE_ENV_KEYS: "KEY"}
kernel:
  clusterRole: kernel-controller
  shareGatewayNamespace: false
  launchTimeout: 60
  cullIdleTimeout: 1800
  cullConnected: false
  allowedKernels: [python_kubernetes, spark_python_kubernetes]
  defaultKernelName: python_kubernetes
kernelspecsPvc: {enabled: true, name: kernelspecs-pvc}
nfs: {enabled: false, internalServerIPAddress: }
kip: {enabled: false}
logLevel: DEBUG
authToken:
"""

OLD_CHART = """
image: elyra/enterprise-gateway:2.0.0
port: 8888
replicas: 1
kernelClusterRole: kernel-controller
sharedNamespace: false
mirrorWorkingDirs: false
cullIdleTimeout: 3600
kernelLaunchTimeout: 60
logLevel: INFO
kernelWhitelist: "'r_kubernetes','python_kubernetes'"
kip: {image: "elyra/kernel-image-puller:2.0.0"}
"""

OPERATOR = """
apiVersion: kubeflow.tkestack.io/v1alpha1
kind: JupyterGateway
metadata: {name: jupytergateway-sample}
spec:
  cullIdleTimeout: 10
  cullInterval: 10
  logLevel: DEBUG
  image: ghcr.io/skai-x/enterprise-gateway:2.6.0
  clusterRole: enterprise-gateway-controller
  resources: {requests: {cpu: 100m}}
  kernels: [python-kubernetes]
  defaultKernel: python-kubernetes
"""

DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
spec:
  template:
    spec:
      containers:
        - name: gateway
          command: [/usr/local/bin/start-enterprise-gateway.sh]
          env:
            - {name: EG_PORT, value: "8888"}
            - {name: EG_PORT_RANGE, value: "0..0"}
            - {name: EG_NAMESPACE, valueFrom: {fieldRef: {fieldPath: metadata.namespace}}}
            - {name: EG_NAME, value: gateway}
            - {name: EG_SHARED_NAMESPACE, value: "True"}
            - {name: EG_MIRROR_WORKING_DIRS, value: "False"}
            - {name: EG_CULL_IDLE_TIMEOUT, value: "3600"}
            - {name: EG_KERNEL_LAUNCH_TIMEOUT, value: "60"}
            - {name: EG_KERNEL_WHITELIST, value: "'r_kubernetes','python_kubernetes'"}
            - {name: EG_KERNEL_IMAGE, value: "ghcr.io/skai-x/jupyter-kernel-py:2.6.0"}
            - {name: EG_DEFAULT_KERNEL, value: python_kubernetes}
"""

SCRIPT = """
# what our start script exports
export EG_IP=0.0.0.0
export EG_PORT=9000   # behind the proxy
EG_AUTH_TOKEN="hunter2"
EG_ALLOWED_KERNELS=["python3","ir"]
EG_CULL_IDLE_TIMEOUT='43200'
EG_CULL_INTERVAL=60
EG_CULL_CONNECTED=False
EG_LIST_KERNELS=True
EG_MAX_KERNELS_PER_USER=3
EG_YARN_ENDPOINT=http://yarn:8088/ws/v1/cluster
EG_PORT_8888_TCP=tcp://10.0.0.1:8888
KG_MAX_KERNELS=40
SPARK_HOME=/opt/spark
"""

CONFIG = '''"""Our gateway, since 2019."""
c = get_config()  # noqa: F821

c.EnterpriseGatewayApp.ip = '127.0.0.1'
c.EnterpriseGatewayApp.port = 9_001
c.EnterpriseGatewayApp.base_url = "/gate" \\
    "way"
c.EnterpriseGatewayApp.env_whitelist = ["TEAM",  # the first
                                        'PROJECT',
                                        ]
c.EnterpriseGatewayApp.unauthorized_users = {'root', 'admin'}
c.EnterpriseGatewayApp.max_kernels = None
c.RemoteMappingKernelManager.cull_idle_timeout = 7200
c.RemoteMappingKernelManager.cull_busy = False
c.KernelSpecManager.whitelist = ('python3',)
c.AsyncKernelManager.shutdown_wait_time = 7.5
c.EnterpriseGatewayApp.webhook_password = "hunter2"
c.Application.log_level = 10
'''


@pytest.fixture
def migrate(build, tmp_path):
    """migrate({"jeg.env": text}) -> exit status, the lines that are no comments as a dictionary, all text."""
    def run(files, *more):
        for name, text in files.items():
            (tmp_path / name).write_text(text)
        done = subprocess.run([build / "elara", "migrate", *files, *more], capture_output=True, text=True, timeout=60, cwd=tmp_path)
        assert "hunter2" not in done.stdout + done.stderr
        settings = dict(line.split("  # ")[0].split(": ", 1) for line in done.stdout.splitlines() if line and line[0] != "#")
        return done.returncode, settings, done.stdout
    return run


@pytest.fixture
def accepted(build, tmp_path):
    """accepted(text) -> what a gateway shows of the settings that it took from there."""
    def load(text, **environment):
        (tmp_path / "elara.yaml").write_text(text)
        check = subprocess.run([build / "elara", "config", "check", "elara.yaml"], capture_output=True, text=True, timeout=60, cwd=tmp_path)
        assert check.returncode == 0, check.stdout + check.stderr
        done = subprocess.run([build / "elara-gateway", "--config", tmp_path / "elara.yaml", "--show-config"], capture_output=True,
                              text=True, timeout=60, env=environment)
        assert done.returncode == 0, done.stderr
        return done.stdout
    return load


@pytest.mark.parametrize("name, text, wanted", [
    ("values.yaml", LAB, {"ip": '"0.0.0.0"', "port": "8888", "insecure": "true", "launch_timeout": "1m", "log_level": '"DEBUG"',
                          "allowed_kernelspecs": '["python_kubernetes", "spark_python_kubernetes"]', "inherited_envs": '["PATH"]',
                          "default_kernel_name": '"python_kubernetes"',
                          "provisioner": '"kubernetes"', "kubernetes_namespaces": '"kernel"',
                          "kubernetes_cluster_role": '"kernel-controller"', "kubernetes_uid": "1000", "kubernetes_gid": "100"}),
    ("values.yaml", OLD_CHART, {"port": "8888", "provisioner": '"kubernetes"', "kubernetes_namespaces": '"kernel"', "launch_timeout": "1m", "allowed_kernelspecs": '["r_kubernetes", "python_kubernetes"]'}),
    ("gateway.yaml", OPERATOR, {"allowed_kernelspecs": '["python-kubernetes"]', "default_kernel_name": '"python-kubernetes"',
                                "insecure": "true", "provisioner": '"kubernetes"', "kubernetes_namespaces": '"fixed"'}),
    ("deployment.yml", DEPLOYMENT, {"port": "8888", "provisioner": '"kubernetes"', "kubernetes_namespaces": '"fixed"', "ip": '"0.0.0.0"', "launch_timeout": "1m",
                                    "allowed_kernelspecs": '["r_kubernetes", "python_kubernetes"]'}),
    ("jeg.env", SCRIPT, {"ip": '"0.0.0.0"', "port": "9000", "allowed_kernelspecs": '["python3", "ir"]', "list_kernels": "true",
                         "max_kernels": "40", "max_kernels_per_user": "3"}),
    ("jupyter_enterprise_gateway_config.py", CONFIG, {"port": "9001", "base_url": '"/gateway"', "client_envs": '["TEAM", "PROJECT"]',
                                                      "allowed_kernelspecs": '["python3"]', "shutdown_wait": "7500ms",
                                                      "unauthorized_users": '["root", "admin"]'}),
], ids=["chart", "old-chart", "operator", "deployment", "environment", "python"])
def test_set_up_becomes_settings_that_a_gateway_takes(migrate, accepted, name, text, wanted):
    status, settings, output = migrate({name: text})
    assert wanted.items() <= settings.items()
    assert status == (1 if "NOT UNDERSTOOD" in output else 0)
    shown = accepted(output)
    for key, value in wanted.items():
        line = next(line for line in shown.splitlines() if line.startswith(f"{key}: "))
        assert "elara.yaml" in line and value.strip('"') in line


def test_what_has_no_equivalent_is_named_with_its_place_and_reason(migrate):
    status, settings, output = migrate({"jeg.env": SCRIPT})
    assert status == 0
    assert "# - EG_YARN_ENDPOINT (jeg.env:12): Hadoop YARN is not supported" in output
    assert "insecure" not in settings and "auth_token" not in settings  # there is one, and it is kept out of the file
    assert "EG_AUTH_TOKEN, jeg.env:5; not repeated here" in output
    assert "EG_PORT_8888_TCP" not in output and "SPARK_HOME" not in output
    _, settings, output = migrate({"values.yaml": LAB})
    assert settings["mirror_working_dirs"] == "true" and settings["kubernetes_namespaces"] == '"kernel"'
    for line in ("# - kip (values.yaml): no image puller", "# - kernelspecsPvc (values.yaml): mount",
                 "# - service.ports: http-response (values.yaml): launchers do not report back"):
        assert line in output
    status, _, output = migrate({"values.yaml": "kernel: {culIdleTimeout: 5}\n"})
    assert status == 1 and "# - kernel.culIdleTimeout (values.yaml): JEG's chart has no such value" in output


@pytest.mark.parametrize("line, shown", [
    ("c.EnterpriseGatewayApp.auth_token = os.environ['TOKEN']", "c.EnterpriseGatewayApp.auth_token (c.py:1)"),
    ("c.RemoteMappingKernelManager.cull_idle_timeout = 60 * 60", "c.RemoteMappingKernelManager.cull_idle_timeout (c.py:1)"),
    ("c.EnterpriseGatewayApp.port = f'{x}'", "c.EnterpriseGatewayApp.port (c.py:1)"),
    ("c.EnterpriseGatewayApp.port = 0o17", "c.EnterpriseGatewayApp.port (c.py:1)"),
    ("c.EnterpriseGatewayApp.ip = 'open", "c.EnterpriseGatewayApp.ip (c.py:1)"),
    ("c.EnterpriseGatewayApp.env_whitelist = [" + "[" * 500, "c.EnterpriseGatewayApp.env_whitelist (c.py:1)"),
    ("c.EnterpriseGatewayApp.client_envs.append('A')", "c.EnterpriseGatewayApp.client_envs.append (c.py:1)"),
    ("import os", "import os (c.py:1)"),
    ("password = 'hunter2'", "password (c.py:1)"),
    ("if True:\n    c.EnterpriseGatewayApp.port = 7", "c.EnterpriseGatewayApp.port (c.py:2)"),
    ("x = [\n'a',\n]\nc.EnterpriseGatewayApp.port = y", "c.EnterpriseGatewayApp.port (c.py:4)"),
    ("c.Spawner.port = 7", "c.Spawner.port (c.py:1): Elara knows no class"),
    ("c.EnterpriseGatewayApp.prot = 7", "c.EnterpriseGatewayApp.prot (c.py:1): Elara has no setting"),
    ("c.EnterpriseGatewayApp.port = 'many'", 'c.EnterpriseGatewayApp.port (c.py:1): the value: "many" must be a whole number'),
    ("c.EnterpriseGatewayApp.port = True", "c.EnterpriseGatewayApp.port (c.py:1): the value: must be a whole number"),
    ("c.Application.log_level = 'LOUD'", "c.Application.log_level (c.py:1): the value: \"LOUD\" must be DEBUG"),
])
def test_what_is_no_literal_is_named_and_never_guessed(migrate, accepted, line, shown):
    status, settings, output = migrate({"c.py": line + "\n"})
    settings.pop("cull_idle_timeout", None)
    assert status == 1 and settings == {} and shown in output
    accepted(output)


def test_a_computed_token_is_no_reason_to_do_without(migrate):
    _, settings, output = migrate({"c.py": "c.EnterpriseGatewayApp.ip = '0.0.0.0'\nc.EnterpriseGatewayApp.auth_token = read()\n"})
    assert settings == {"ip": '"0.0.0.0"', "cull_idle_timeout": "0"}


def test_what_is_said_about_exposure_is_said_once(migrate, accepted):
    for word in ("true", "false"):
        _, settings, output = migrate({"jeg.env": f"EG_IP=0.0.0.0\nELARA_INSECURE={word}\n"})
        assert settings["insecure"] == word and f"insecure: {word}" in accepted(output)


def test_sources_win_as_they_do_in_jeg(migrate):
    _, settings, output = migrate({"jeg.env": "EG_PORT=1\nEG_ALLOWED_KERNELS=a\nEG_KERNEL_WHITELIST=b\n",
                                   "c.py": "c.EnterpriseGatewayApp.port = 2\nc.EnterpriseGatewayApp.port = 3\n"})
    assert settings == {"port": "3", "allowed_kernelspecs": '["a"]'}
    assert "# - EG_PORT, jeg.env:1: c.EnterpriseGatewayApp.port, c.py:1 wins over it" in output


def test_nothing_in_a_name_becomes_a_setting(migrate, accepted):
    _, settings, output = migrate({"values.yaml": '"x\\u2028insecure: true": 1\n"y\\u0085insecure: true": 2\n"z\\ninsecure: no": 3\n'
                                                  "authToken: hunter2\n"})
    assert "insecure" not in settings
    assert "insecure: false" in accepted(output)


@pytest.mark.parametrize("name, content, word", [
    ("values.yaml", "a: [", "values.yaml"), ("values.yaml", "- a\n", "key: value"), ("values.yaml", "kind: Pod\n", "a Pod"),
    ("values.yaml", "a: &x 1\nb: *x\n", "values.yaml"), ("c.json", "[1]", "c.json"), ("c.json", '{"a":', "c.json:1"), ("none.env", None, "none.env"),
])
def test_file_that_cannot_be_read_at_all(build, tmp_path, name, content, word):
    if content is not None:
        (tmp_path / name).write_text(content)
    done = subprocess.run([build / "elara", "migrate", name], capture_output=True, text=True, timeout=60, cwd=tmp_path)
    assert done.returncode in (1, 2) and done.stdout == "" and word in done.stderr


def test_json_configuration(migrate):
    _, settings, _ = migrate({"c.json": json.dumps({"EnterpriseGatewayApp": {"port": 5, "client_envs": ["A"]}})})
    assert settings == {"port": "5", "client_envs": '["A"]', "cull_idle_timeout": "0"}


def test_idle_kernels_end_when_they_did(migrate):
    """JEG itself ends none, its container after 12 hours, its chart after one; none of them connected ones."""
    def timeout(files):
        _, settings, output = migrate(files)
        assert settings.get("cull_connected", "false") == "false"
        return settings.get("cull_idle_timeout")

    assert timeout({"c.py": "c.EnterpriseGatewayApp.port = 5\n"}) == "0"
    assert timeout({"c.py": "c.RemoteMappingKernelManager.cull_idle_timeout = 90\n"}) == "90s"
    assert timeout({"values.yaml": "logLevel: INFO\n"}) == "1h"
    assert timeout({"values.yaml": LAB}) == "30m"
    assert timeout({"gateway.yaml": OPERATOR}) == "10s"
    assert timeout({"deployment.yaml": DEPLOYMENT.replace("EG_CULL_IDLE_TIMEOUT", "EG_NAME")}) == "12h"
    assert timeout({"jeg.env": "EG_CULL_IDLE_TIMEOUT=0\n"}) == "0"
    assert timeout({"jeg.env": "EG_PORT=1\n"}) is None  # our default is the container's


def test_this_environment(build):
    done = subprocess.run([build / "elara", "migrate"], capture_output=True, text=True, timeout=60,
                          env={"EG_PORT": "77", "EG_NO_SUCH": "1", "ELARA_URL": "x", "HOME": "/"})
    assert done.returncode == 1 and "port: 77  # EG_PORT, this environment\n" in done.stdout
    assert "EG_NO_SUCH (this environment): Elara has no setting" in done.stdout and "ELARA_URL" not in done.stdout


def test_kernelspecs_with_a_process_proxy(migrate, specs):
    proxies = "enterprise_gateway.services.processproxies."
    specs.stub("local", metadata={"process_proxy": {"class_name": proxies + "processproxy.LocalProcessProxy",
                                                    "config": {"authorized_users": "anna", "port_range": "1..2"}}})
    specs.add("pod", ["python", "launch_kubernetes.py", "--RemoteProcessProxy.response-address", "{response_address}"],
              metadata={"process_proxy": {"class_name": proxies + "k8s.KubernetesProcessProxy", "config": {"image_name": "i:1"}}})
    specs.add("own", ["x"], metadata={"process_proxy": {"class_name": "acme.OwnProxy"}})
    (specs.directory / "broken").mkdir()
    (specs.directory / "broken" / "kernel.json").write_text("{")
    status, settings, output = migrate({"jeg.env": "ELARA_PROVISIONER=local\n"}, str(specs))
    assert status == 1 and settings == {"provisioner": '"local"'}
    for line in ("# - stub: starts here as it is", "# - local: LocalProcessProxy: starts here as it is",
                 "# - local: process_proxy.config.port_range does nothing here", "# - pod: KubernetesProcessProxy: listed, but it starts with",
                 "# - pod: process_proxy.config.image_name does nothing here", "# - pod: argv holds launch_kubernetes.py",
                 "# - own: OwnProxy: listed, but nobody here can start it", "# - broken ("):
        assert line in output
    assert "authorized_users" not in output  # they count here too


def test_kernelspecs_of_pods(migrate, accepted, specs):
    """Whatever comes first, kernelspecs or settings."""
    class_name = "enterprise_gateway.services.processproxies.k8s.KubernetesProcessProxy"
    launch = ["python", "/specs/scripts/launch_kubernetes.py", "--RemoteProcessProxy.kernel-id", "{kernel_id}"]
    templated = specs.add("ir", launch, language="R", metadata={"process_proxy": {"class_name": class_name, "config": {"image_name": "r:1"}}})
    (templated / "scripts").mkdir()
    (templated / "scripts" / "kernel-pod.yaml.j2").write_text("{{ kernel_image }}")
    own = specs.add("own", ["ipython"], metadata={"process_proxy": {"class_name": class_name}})
    (own / "pod.yaml").write_text("spec: {containers: [{name: kernel, image: 'own:2'}]}\n")
    wrong = specs.add("wrong", ["ipython"])
    (wrong / "pod.yaml").write_text("spec: {containers: [{image: 5}]}\n")
    (specs.directory.parent / "jeg.env").write_text("EG_PORT=1\n")
    for arguments in (["jeg.env", str(specs)], [str(specs), "jeg.env"]):
        status, settings, output = migrate({}, *arguments)
        assert status == 1 and settings == {"port": "1", "provisioner": '"kubernetes"', "kubernetes_namespaces": '"kernel"',
                                            "kubernetes_uid": "1000", "kubernetes_gid": "100"}
        for line in ("# - ir: starts as a pod of r:1\n", "# - ir: scripts/kernel-pod.yaml.j2 is its pod's template, as it is\n",
                     '# - ir: its pod runs ["R", "--slave", "-e", "IRkernel::main()", "--args", "{connection_file}"] (metadata.', "# - own: starts as a pod of own:2\n",
                     "# - stub: starts as a pod of kubernetes_image", "pod.yaml: spec.containers[0].image: must be a text"):
            assert line in output
        assert "starts here as it is" not in output and "image_name does nothing" not in output
        assert 'provisioner: "kubernetes"' in accepted(output)


@pytest.fixture
def lab(specs, build, tmp_path):
    """lab(volumes) adds a kernelspec; explain(env) says what a gateway with the migrated settings makes of a request for it."""
    metadata = {"process_proxy": {"class_name": "enterprise_gateway.services.processproxies.k8s.KubernetesProcessProxy",
                                  "config": {"image_name": "py:1"}}}

    def explain(env):
        request = tmp_path / "request.json"
        request.write_text(json.dumps({"name": "lab", "env": env}))
        done = subprocess.run([build / "elara", "policy", "explain", "--config", tmp_path / "elara.yaml", "--request", request, "--json",
                               "--kernelspec-dirs", str(specs), "--kubernetes-launcher-image", "elara:1"],
                              capture_output=True, text=True, timeout=60, env={})
        assert done.returncode in (0, 1), done.stderr
        return json.loads(done.stdout)

    def add(volumes, **env):
        specs.add("lab", ["python", "/specs/launch_kubernetes.py"], language="python", metadata=metadata,
                  env={"KERNEL_VOLUMES": volumes, "KERNEL_VOLUME_MOUNTS": "[{name: home,mountPath: '/home/jovyan'}]", **env})
        return explain
    return add


LAB_HOME = "[{name: home,nfs: {server: '172.17.0.1',path: %s}}]"


@pytest.mark.parametrize("volumes, more, env, shown", [
    (LAB_HOME % "$KERNEL_PATH", {}, {"KERNEL_PATH": "/home/nfs_share/claim/alice"}, '{server: "172.17.0.1", paths: ["/**"]}'),
    (LAB_HOME % "'/share/claim/x-${KERNEL_PATH}'", {}, {"KERNEL_PATH": "alice"}, 'paths: ["/share/claim/**"]'),
    (LAB_HOME % "$KERNEL_HOME", {"KERNEL_HOME": "/share/$KERNEL_TEAM"}, {"KERNEL_TEAM": "blue"}, 'paths: ["/share/**"]'),
    (LAB_HOME % "/share/$KERNEL_USERNAME", {}, {"KERNEL_USERNAME": "alice"}, 'paths: ["/share/{user}"]'),
])
def test_a_policy_for_what_kernelspecs_mount(migrate, accepted, lab, specs, tmp_path, volumes, more, env, shown):
    explain = lab(volumes, **more)
    status, settings, output = migrate({}, str(specs))
    assert status == 0 and "policy" not in settings and "`elara migrate --policy" in output
    accepted(output)
    if "KERNEL_USERNAME" not in env:  # a name that nobody vouches for is not mounted without a policy either
        assert explain(env)["status"] == 403
    status, settings, output = migrate({}, "--policy", "policy.yaml", str(specs))
    assert status == 0 and json.loads(settings["policy"]) == str(tmp_path / "policy.yaml") and "STILL TO BE SET, kernelspecs" not in output
    accepted(output)
    policy = (tmp_path / "policy.yaml").read_text()
    assert shown in policy and "# kernelspec lab" in policy
    told = explain(env)
    assert told["allowed"], told
    assert [volume["nfs"]["path"] for volume in told["pod"]["spec"]["volumes"] if "nfs" in volume][0].endswith(("alice", "blue"))
    assert explain(env | {"KERNEL_VOLUMES": "[{name: r, hostPath: {path: /}}]"})["pod"]["spec"]["volumes"] == told["pod"]["spec"]["volumes"]


def test_a_policy_is_written_where_none_is(migrate, build, lab, specs, tmp_path):
    lab("[{name: home, nfs: {server: $KERNEL_SERVER, path: /x}}, {name: h, hostPath: {path: /data/$KERNEL_X}}]")
    status, settings, output = migrate({}, "--policy", "policy.yaml", str(specs))
    policy = (tmp_path / "policy.yaml").read_text()
    assert policy.count("# Not allowed here, please look: kernelspec lab mounts") == 2 and "(client)" in policy
    again = subprocess.run([build / "elara", "migrate", "--policy", "policy.yaml", str(specs)], capture_output=True, text=True, timeout=60, cwd=tmp_path)
    assert again.returncode == 1 and "--policy: policy.yaml: File exists" in again.stderr
    assert (tmp_path / "policy.yaml").read_text() == policy
    lab("[{name: home, nfs: {server: s, path: /x}}]")  # the administrator's alone
    status, settings, output = migrate({}, "--policy", "other.yaml", str(specs))
    assert status == 0 and "policy" not in settings and not (tmp_path / "other.yaml").exists()


@pytest.mark.parametrize("line", ["EG_NAMESPACE=jeg", "EG_SHARED_NAMESPACE=False", "EG_KERNEL_CLUSTER_ROLE=kernel-controller"])
def test_cluster_of_an_environment(migrate, build, tmp_path, line):
    _, settings, output = migrate({"jeg.env": line + "\n"})
    assert settings["provisioner"] == '"kubernetes"' and settings["kubernetes_namespaces"] == '"kernel"'
    assert "\n# kubernetes_launcher_image: " in output and "kubernetes_launcher_image" not in settings
    (tmp_path / "elara.yaml").write_text(output)
    with tempfile.TemporaryDirectory(prefix="elara-", dir="/tmp") as runtime:  # a short path, for the sake of sockets
        refused = subprocess.run([build / "elara-gateway", "--config", tmp_path / "elara.yaml", "--runtime-dir", runtime, "--port", "0"],
                                 capture_output=True, text=True, timeout=60)
    assert refused.returncode != 0 and "kubernetes-launcher-image" in refused.stderr  # what the file says is still to be set
    _, settings, output = migrate({"jeg.env": line + "\nELARA_KUBERNETES_LAUNCHER_IMAGE=r/elara:1\n"})
    assert settings["kubernetes_launcher_image"] == '"r/elara:1"' and "STILL TO BE SET" not in output


def test_cluster_of_a_deployment_that_takes_its_namespace_from_the_pod(migrate):
    shared = "            - {name: EG_SHARED_NAMESPACE, value: \"True\"}\n"
    assert shared in DEPLOYMENT
    _, settings, _ = migrate({"deployment.yaml": DEPLOYMENT.replace(shared, "")})
    assert settings["provisioner"] == '"kubernetes"' and settings["kubernetes_namespaces"] == '"kernel"'


def test_no_cluster_where_none_was(migrate):
    for files in ({"jeg.env": SCRIPT}, {"c.py": CONFIG}):
        _, settings, output = migrate(files)
        assert not [key for key in settings if key.startswith("kube") or key == "provisioner"] and "pods" not in output
