"""The sandbox's load balancer: marathon-lb's rules on a real HAProxy.

Run it as ``python -m bgci.sandbox.loadbalancer``.

``drain`` (who drains), ``services`` (what is served) and ``haproxy_config`` (the text) are pure; ``haproxy`` and
``marathon`` are the outside; ``balancer`` joins them.
"""
