"""What a user notices while another client sends requests that are refused."""
from servers import Elara, session_path, wire_client

TOKEN = "bench"
ROUNDS = 1000
RATE = 50_000


def bench_refused(options, elara, jeg, table):
    guarded = Elara(options.build)
    guarded.environment = {"ELARA_AUTH_TOKEN": TOKEN}
    guarded.token = TOKEN
    with guarded:
        kernel = guarded.request("POST", "/api/kernels", json={"name": "stub"}).json()["id"]
        path = f"{session_path(kernel)}&token={TOKEN}"
        found = wire_client(options, "refused", guarded, path, ROUNDS, RATE)
    table.add(f"kernel_info p99 beside {found['tried_per_s']:,.0f} requests/s with a wrong token", f"{found['flooded_p99_us']:.0f} us",
              f"quiet: {found['quiet_p99_us']:.0f} us", f"{found['ratio']:.2f} x", "<= 3 x")
    table.add("  of these answered with 401, others", f"{found['refused_per_s']:,.0f} /s, {found['not_refused']}", "", "", "0 others")
