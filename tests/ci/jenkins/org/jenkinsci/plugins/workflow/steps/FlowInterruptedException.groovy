package org.jenkinsci.plugins.workflow.steps

/** What a step throws that is interrupted: by a person, a time-out, or a refusal. */
class FlowInterruptedException extends InterruptedException {
    FlowInterruptedException(String message) { super(message) }
}
