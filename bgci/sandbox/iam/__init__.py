"""What a secured DC/OS adds: users and their logins, permissions, secrets, and TLS by a CA of its own."""
