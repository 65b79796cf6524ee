"""The guide's "Metrics to Track", as Prometheus takes them: usage, performance and security, a module each."""
