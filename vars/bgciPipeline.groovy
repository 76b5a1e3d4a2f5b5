import groovy.transform.Field
import org.jenkinsci.plugins.workflow.steps.FlowInterruptedException

// The pipeline's own keys with their defaults; all others are those of the stages.
@Field final Map<String, Object> DEFAULTS = [
    label: '', // of the agents
    test: true, // false: there is nothing to test the canary with
    approval: false, // true: somebody must agree before the revision takes over
    submitter: '', // who may: users or groups, separated by commas
    approvalMinutes: 1440,
]

/** Releases a revision: publish, canary, test, approval, promote; back when one of them fails or nobody agrees. */
void call(Map args = [:]) {
    Map own = own(args)
    Map options = others(args)
    bgciRun.check(options)
    if (!(options.app && options.revision)) {
        error('bgciPipeline needs app and revision')
    }
    milestone()
    lock(resource: 'bgci ' + options.app, inversePrecedence: true) {
        milestone() // builds that are older than the one which got the lock give up
        release(own, options)
    }
}

private void release(Map own, Map options) {
    Map rendered = rendered(options)
    boolean begun = false
    boolean asking = false
    boolean busy = false // with a stage of bgci
    try {
        node(own.label) {
            checkout(scm)
            stage('Publish') {
                publish(options)
            }
            begun = true
            busy = true
            stage('Canary') {
                bgciCanary(rendered)
            }
            if (own.test) {
                stage('Test') {
                    bgciTest(options)
                }
            }
            busy = false
        }
        if (own.approval) {
            asking = true
            approve(own, options)
            asking = false
        }
        node(own.label) {
            stage('Promote') {
                unstash('bgci')
                busy = true
                bgciPromote(rendered)
            }
        }
    } catch (FlowInterruptedException interrupted) {
        // In the midst of a stage bgci itself has carried out --on-abort; while an agent is waited for it cannot.
        if (asking || (begun && !busy && options.onAbort == 'rollback')) {
            rollback(own, rendered)
        }
        throw interrupted
    } catch (Exception failed) {
        if (begun && options.onFailure != 'leave') {
            // The failure, not the way back, is what the build ends with.
            catchError(buildResult: 'FAILURE', stageResult: 'FAILURE', catchInterruptions: false) {
                rollback(own, rendered)
            }
        }
        throw failed
    }
}

/** Where goals run in the agent itself there may be nobody who knows jobs. */
private void publish(Map options) {
    if (options.via == 'direct') {
        bgciRender(options)
    } else {
        bgciPublish(options)
    }
    stash(name: 'bgci', includes: (options.artifacts ?: env.BGCI_ARTIFACTS ?: 'bgci-artifacts') + '/**')
}

/** Outside of any agent: nothing is occupied while people think. */
private void approve(Map own, Map options) {
    stage('Approval') {
        Map question = [message: 'Let ' + options.revision + ' of ' + options.app + ' take over?', ok: 'Promote']
        if (own.submitter) {
            question.submitter = own.submitter
        }
        timeout(time: own.approvalMinutes, unit: 'MINUTES') {
            input(question)
        }
    }
}

private void rollback(Map own, Map rendered) {
    stage('Rollback') {
        node(own.label) {
            unstash('bgci')
            bgciRollback(rendered)
        }
    }
}

@NonCPS
private Map own(Map args) {
    return DEFAULTS + args.findAll { key, value -> key in DEFAULTS.keySet() && value != null }
}

@NonCPS
private Map others(Map args) {
    return args.findAll { key, value -> !(key in DEFAULTS.keySet()) }
}

/** Without what renders anew: from then on every stage works with what was published. */
@NonCPS
private Map rendered(Map options) {
    return options.findAll { key, value -> !(key in ['image', 'template']) }
}
