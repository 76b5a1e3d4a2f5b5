import groovy.transform.Field
import org.jenkinsci.plugins.workflow.steps.FlowInterruptedException

// The pipeline's own keys with their defaults; all others are those of the stages.
@Field final Map<String, Object> DEFAULTS = [
    label: '', // of the agents
    workingDirectory: '.', // of the app in the repository: its bgci.toml, its templates
    keep: '', // more files that the stages on other agents need, as patterns: 'certificates/**'
    test: true, // false: there is nothing to test the canary with
    approval: false, // true, or who may give it: somebody must agree before the revision takes over
    submitter: '', // who may: users or groups, separated by commas
    approvalMinutes: 1440,
    milestone: true, // false where builds of one job release several apps: a milestone is the job's
    name: '', // of this release, where a build has several; its stages begin with it
    from: '', // the name of the earlier release in this build whose app definition is released: no image is given
]

/** Releases a revision: publish, canary, test, approval, promote; back when one of them fails or nobody agrees. */
void call(Map args = [:]) {
    Map own = own(args)
    Map options = others(args)
    bgciRun.check(options)
    if (!(options.app && options.revision)) {
        error('bgciPipeline needs app and revision')
    }
    if (own.from && options.image) {
        error('bgciPipeline: from takes the image of ' + own.from + '; leave image out')
    }
    String cluster = options.clusterUrl ?: options.marathonUrl ?: env.BGCI_CLUSTER_URL ?: env.BGCI_MARATHON_URL
    pass(own)
    // Where nobody gives up, the builds go in their order: the newest is the last, and its revision stays.
    lock(resource: 'bgci ' + options.app + (cluster ? ' at ' + cluster : ''), inversePrecedence: own.milestone) {
        pass(own) // builds that are older than the one which got the lock give up
        release(own, options)
    }
}

private void pass(Map own) {
    if (own.milestone) {
        milestone()
    }
}

private void release(Map own, Map options) {
    Map rendered = rendered(options)
    // Whether there is anything to go back from, and whether bgci itself has gone back; what was tested and approved.
    Map progress = [begun: false, asking: false, rolledBack: false, manifest: '']
    try {
        node(own.label) {
            checkout(scm)
            dir(own.workingDirectory) {
                prepare(own, options, progress)
                tryOut(own, options, rendered, progress)
            }
        }
        if (own.approval) {
            progress.asking = true
            approve(own, options)
            progress.asking = false
        }
        node(own.label) {
            dir(own.workingDirectory) {
                promote(own, options, rendered, progress)
            }
        }
    } catch (FlowInterruptedException interrupted) {
        // bgci itself carries out --on-abort, unless its agent was lost, or there was no agent.
        if (progress.asking || (progress.begun && !progress.rolledBack && rollsBackOnAbort(options))) {
            rollback(own, rendered)
        }
        throw interrupted
    } catch (Exception failed) {
        if (progress.begun && options.onFailure != 'leave') {
            // The failure, not the way back, is what the build ends with.
            catchError(buildResult: 'FAILURE', stageResult: 'FAILURE', catchInterruptions: false) {
                rollback(own, rendered)
            }
        }
        throw failed
    }
}

/** Publishes, and keeps what the other agents need, whose workspaces are empty. */
private void prepare(Map own, Map options, Map progress) {
    titled(own, 'Publish') {
        if (own.from) {
            unstash(stashName(own.from))
        }
        if (options.via == 'direct') { // there may be nobody who knows jobs
            bgciRender(options)
        } else {
            bgciPublish(options)
        }
        stash(name: stashName(own.name), includes: kept(own, options))
        progress.manifest = manifest(options)
    }
}

private void tryOut(Map own, Map options, Map rendered, Map progress) {
    attempt('canary', options, progress) {
        titled(own, 'Canary') { bgciCanary(rendered) }
    }
    if (own.test) {
        attempt('test', options, progress) {
            titled(own, 'Test') { bgciTest(options) }
        }
    }
}

/** Promotes what was tested and approved, and nothing else. */
private void promote(Map own, Map options, Map rendered, Map progress) {
    titled(own, 'Promote') {
        unstash(stashName(own.name))
        if (manifest(options) != progress.manifest) {
            error('bgci: the artifacts are not those that were tested and approved: manifest.json is another one')
        }
        attempt('promote', options, progress) { bgciPromote(rendered) }
    }
}

private void titled(Map own, String title, Closure body) {
    stage(own.name ? own.name + ': ' + title : title) { body() }
}

/** A stage that can be interrupted: then its agent is asked, while it is still there, whether it has gone back. */
private void attempt(String command, Map options, Map progress, Closure body) {
    progress.begun = true
    try {
        body()
    } catch (FlowInterruptedException interrupted) {
        progress.rolledBack = bgciRun.rolledBack(command, options)
        throw interrupted
    }
}

private boolean rollsBackOnAbort(Map options) {
    return (options.onAbort ?: env.BGCI_ON_ABORT) == 'rollback'
}

private String manifest(Map options) {
    String path = bgciRun.directory(options) + '/manifest.json'
    return fileExists(path) ? readFile(file: path, encoding: 'UTF-8') : ''
}

/** Outside of any agent: nothing is occupied while people think. */
private void approve(Map own, Map options) {
    titled(own, 'Approval') {
        Map question = [message: 'Let ' + options.revision + ' of ' + options.app + ' take over?', ok: 'Promote']
        String submitter = submitters(own)
        if (submitter) {
            question.submitter = submitter
        }
        timeout(time: own.approvalMinutes, unit: 'MINUTES') {
            input(question)
        }
    }
}

private void rollback(Map own, Map rendered) {
    titled(own, 'Rollback') {
        node(own.label) {
            dir(own.workingDirectory) {
                unstash(stashName(own.name))
                bgciRollback(rendered)
            }
        }
    }
}

/** Patterns: the artifacts, bgci.toml, the CA certificates that either names, bgci itself, and what is to be kept. */
private String kept(Map own, Map options) {
    String file = options.config ?: env.BGCI_CONFIG ?: 'bgci.toml'
    String settings = fileExists(file) ? readFile(file: file, encoding: 'UTF-8') : ''
    String certificates = options.caCert ?: env.BGCI_CA_CERT ?: named(settings)
    String program = options.executable?.contains('/') ? inWorkspace(options.executable) : ''
    return joined([bgciRun.directory(options) + '/**', file, inWorkspace(certificates), program, own.keep])
}

@NonCPS
private String named(String settings) {
    String line = settings.split('\n').find { one -> one.matches(/\s*ca[_-]cert\s*=.*/) }
    return line ? line.replaceAll(/^[^=]*=\s*["']|["']\s*(#.*)?$/, '') : ''
}

/** A path in the workspace; nothing for one on every agent, or for the certificates themselves. */
@NonCPS
private String inWorkspace(String path) {
    return path && !path.startsWith('/') && !path.contains('-----BEGIN') ? path.replaceAll(/^\.\//, '') : ''
}

@NonCPS
private String joined(List<String> patterns) {
    return patterns.findAll { one -> one }.join(',')
}

@NonCPS
private String submitters(Map own) {
    Object named = own.approval instanceof Boolean ? own.submitter : own.approval
    return named instanceof Collection ? named.join(',') : named
}

@NonCPS
private String stashName(String name) {
    return name ? 'bgci ' + name : 'bgci'
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
