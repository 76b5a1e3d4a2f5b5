"""The checks of a cluster, an account and an app: each finding with its remedy.

Start with ``examination.Examination``: it reads the cluster and passes the values to pure judgements (``access``,
``rights``, ``running_apps``, ``balancer_labels``, ``adoption``). May import: operations and below.
"""
