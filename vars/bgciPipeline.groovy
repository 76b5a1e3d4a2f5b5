import groovy.transform.Field
import org.jenkinsci.plugins.workflow.steps.FlowInterruptedException

// The pipeline's own keys with their defaults; all others are those of the stages.
@Field final Map<String, Object> DEFAULTS = [
    label: '', // label of the agents
    workingDirectory: '.', // directory of the app in the repository, with its bgci.toml and templates
    keep: '', // patterns of further files for the stages on other agents: 'certificates/**'
    test: true, // false: without a stage that tests the canary
    approval: false, // true, or the users and groups that can approve: a user must approve the promotion
    submitter: '', // users or groups that can approve, separated by commas
    approvalMinutes: 1440,
    milestone: true, // false if builds of one job release several apps: a milestone belongs to the job
    name: '', // name of this release in a build with several; the prefix of its stages
    from: '', // the name of an earlier release in this build: releases its app definition, without an image
]

/** Releases a revision: publish, canary, test, approval, promote. Rolls back when a stage fails or without approval. */
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
    // Without milestones no build gives up, and they take the lock in their order: the revision of the newest stays.
    lock(resource: 'bgci ' + options.app + (cluster ? ' at ' + cluster : ''), inversePrecedence: own.milestone) {
        pass(own) // builds older than the one that got the lock give up
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
    // begun: a stage that changes the app has begun; rolledBack: bgci has done it; manifest: of the tested artifacts.
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
            // The build ends with the failure, not with the result of the rollback.
            catchError(buildResult: 'FAILURE', stageResult: 'FAILURE', catchInterruptions: false) {
                rollback(own, rendered)
            }
        }
        throw failed
    }
}

/** Publishes, and keeps the files for the other agents, whose workspaces are empty. */
private void prepare(Map own, Map options, Map progress) {
    titled(own, 'Publish') {
        if (own.from) {
            unstash(stashName(own.from))
        }
        if (options.via == 'direct') { // the cluster may have no Metronome
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

/** Promotes only the tested and approved artifacts. */
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

/** A stage that can be interrupted: its agent then reports, while it still exists, whether bgci has rolled back. */
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

/** Asks outside of any agent, so that the wait for an approval occupies none. */
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

/** Patterns of the kept files: artifacts, bgci.toml, CA certificates, bgci itself, and those of the key keep. */
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

/** A path in the workspace; empty for an absolute path, and for the text of certificates. */
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

/** Options without those of the rendering: every later stage uses the published artifacts. */
@NonCPS
private Map rendered(Map options) {
    return options.findAll { key, value -> !(key in ['image', 'template']) }
}
