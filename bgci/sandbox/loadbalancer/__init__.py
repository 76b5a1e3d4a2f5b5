"""The sandbox's load balancer: marathon-lb's rules on a real HAProxy.

Run it as ``python -m bgci.sandbox.loadbalancer``.

``drain`` (draining tasks), ``services`` (served ports) and ``haproxy_config`` (the text) are pure; ``haproxy`` and
``marathon`` do the I/O; ``balancer`` combines them.
"""
