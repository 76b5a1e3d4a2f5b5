"""From a template to an app definition and its three DC/OS Jobs, with Marathon's and Metronome's rules. Pure.

May import: errors, redaction. Start with ``template.render_template``, then ``validate.check_definition``.
"""
