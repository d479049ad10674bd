"""What the integration tests share: processes, clients, kernelspecs."""
