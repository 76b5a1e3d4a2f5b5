import groovy.json.JsonSlurperClassic
import groovy.transform.Field

// One key for each option that the stages share: clusterUrl is --cluster-url.
@Field final List<String> OPTIONS = [
    'app', 'revision', 'artifacts', 'logFormat', 'image', 'template', 'templateDir', 'set', 'templateEnv',
    'allowNoHealthCheck', 'clusterUrl', 'marathonUrl', 'metronomeUrl', 'marathonLbUrl', 'caCert', 'insecure', 'via',
    'jobClusterUrl', 'jobMarathonLbUrl', 'jobImage', 'jobTemplate', 'strategy', 'wave', 'timeout', 'drainTimeout',
    'onDrainTimeout', 'onAbort', 'dryRun', 'suite', 'testCommand', 'commandTimeout', 'junitGlob', 'serviceUrl',
    'instances', 'percent', 'onFailure', 'output',
]

// Where the agent has bgci, and credentials by their id in Jenkins.
@Field final List<String> OWN = [
    'executable', 'credentialsId', 'tokenCredentialsId', 'serviceAccountCredentialsId',
]

@Field final Map<Integer, String> NAMES = [
    0: 'ok', 1: 'internal', 2: 'usage', 3: 'invalid', 4: 'denied', 5: 'unavailable', 6: 'conflict', 7: 'rejected',
    8: 'unhealthy', 9: 'timeout', 10: 'rolled-back', 11: 'inconclusive', 130: 'aborted', 143: 'aborted',
]

/** Runs `bgci COMMAND` and returns what result.json says. Every exit code but 0 is an error with its name. */
Map call(String command, Map args = [:]) {
    check(args)
    String directory = args.artifacts ?: env.BGCI_ARTIFACTS ?: 'bgci-artifacts'
    int code = 0
    Map result = [:]
    try {
        withEnv(environment(command, args)) {
            withCredentials(credentials(args)) {
                // The values come from the environment alone: nothing of them is ever part of a shell's text.
                code = sh(label: 'bgci ' + command, script: '"$BGCI_EXECUTABLE" "$BGCI_STAGE"', returnStatus: true)
            }
        }
        result = written(directory, command, code)
    } finally {
        keep(command, directory)
    }
    if (code != 0) {
        error(message(command, code, result))
    }
    return result
}

/** Unknown keys are an error: a misspelt option must not be left out in silence. */
void check(Map args) {
    List<String> strange = unknown(args)
    if (strange) {
        error('bgci: unknown: ' + strange.join(', ') + '; known are: ' + (OPTIONS + OWN).join(', '))
    }
}

private List credentials(Map args) {
    List bindings = []
    if (args.credentialsId) {
        bindings.add(usernamePassword(credentialsId: args.credentialsId,
            usernameVariable: 'BGCI_USERNAME', passwordVariable: 'BGCI_PASSWORD'))
    }
    if (args.tokenCredentialsId) {
        bindings.add(string(credentialsId: args.tokenCredentialsId, variable: 'BGCI_TOKEN'))
    }
    if (args.serviceAccountCredentialsId) {
        bindings.add(file(credentialsId: args.serviceAccountCredentialsId, variable: 'BGCI_SERVICE_ACCOUNT_FILE'))
    }
    return bindings
}

/** What this very run wrote: an earlier stage's result.json says nothing about this one. */
private Map written(String directory, String command, int code) {
    String path = directory + '/result.json'
    Map found = fileExists(path) ? parsed(readFile(file: path, encoding: 'UTF-8')) : [:]
    return found.command == command && found.code == code ? found : [:]
}

/** Test results and artifacts, whatever happened. That they cannot be kept does not fail a good release. */
private void keep(String command, String directory) {
    Map lenient = [buildResult: 'SUCCESS', stageResult: 'UNSTABLE', catchInterruptions: false]
    if (command in ['test', 'release']) { // later stages would record the same results again
        catchError(lenient + [message: 'bgci: the test results could not be recorded']) {
            junit(testResults: directory + '/junit/*.xml', allowEmptyResults: true)
        }
    }
    catchError(lenient + [message: 'bgci: the artifacts could not be archived']) {
        archiveArtifacts(artifacts: directory + '/**', allowEmptyArchive: true)
    }
}

// Without steps, over plain values: @NonCPS is right for what follows.

@NonCPS
private List<String> unknown(Map args) {
    return args.keySet().findAll { key -> !(key in OPTIONS || key in OWN) }.collect { key -> key.toString() }
}

@NonCPS
private List<String> environment(String command, Map args) {
    Map given = args.findAll { key, value -> key in OPTIONS && value != null }
    return ['BGCI_STAGE=' + command, 'BGCI_EXECUTABLE=' + (args.executable ?: 'bgci')] +
        given.collect { key, value -> variable(key.toString()) + '=' + text(value) }
}

@NonCPS
private String variable(String key) {
    return 'BGCI_' + key.replaceAll('([A-Z])', '_$1').toUpperCase()
}

@NonCPS
private String text(Object value) {
    if (value instanceof Map) {
        return value.collect { key, one -> key + '=' + one }.join('\n')
    }
    return value instanceof Collection ? value.join('\n') : value.toString()
}

@NonCPS
private Map parsed(String json) {
    return new JsonSlurperClassic().parseText(json) as Map
}

@NonCPS
private String message(String command, int code, Map result) {
    String name = NAMES[code] ?: 'it could not be run; is it installed on this agent?'
    return 'bgci ' + command + ': ' + name + ' (exit code ' + code + ')' + (result.message ? ': ' + result.message : '')
}
