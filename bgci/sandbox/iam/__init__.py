"""The additions of a secured DC/OS: users and their logins, permissions, secrets, and TLS by its own CA."""
