"""bgci: releases an app on DC/OS or Mesos/Marathon behind marathon-lb with zero downtime."""

__version__ = "0.1.0"
