"""Makes an app definition and its three DC/OS Jobs from a template, and checks them by the rules of Marathon,
marathon-lb and Metronome. Pure.

May import: errors, redaction. Start with ``template.render_template``, then ``validate.check_definition``.
"""
