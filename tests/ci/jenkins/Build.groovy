import hudson.AbortException
import org.jenkinsci.plugins.workflow.steps.FlowInterruptedException

/** One build: what the test wants of it, what it did, and the steps that do something. */
class Build {
    static Binding binding = new Binding()
    static Script steps
    static Map wanted
    static List<Map> trace = []
    static List<List<String>> environments = []
    static int nodes = 0
    static String status = 'SUCCESS'

    static void note(String step, Object details = null) {
        trace << [step: step, details: details, node: nodes > 0]
    }

    static void worsen(String other) {
        def order = ['SUCCESS', 'UNSTABLE', 'FAILURE', 'ABORTED']
        if (order.indexOf(other) > order.indexOf(status)) { status = other }
    }

    static void awaitAgent() {
        if (wanted.abortAtNode == trace.count { it.step == 'node' }) {
            throw new FlowInterruptedException('aborted while it waits for an agent')
        }
    }

    static Map<String, String> environment() {
        environments.flatten().collectEntries { line -> line.split('=', 2) as List }
    }

    static List<String> names() { binding.variables.keySet() as List }

    static List<String> assignedSince(List<String> names) {
        (binding.variables.keySet() - names).collect { name -> name + '=' + binding.variables[name] }
    }

    /** A variable of the build's environment, or of the agent's. */
    static String variable(String name) { environment()[name] ?: System.getenv(name) }

    /** Carries out a step, as an agent would; raises what Jenkins would throw into the pipeline. */
    static Object perform(String step, Map details) {
        switch (step) {
            case 'sh': return shell(details)
            case 'input': return answered()
            case 'fileExists': return file(details.value).exists()
            case 'readFile': return file(details.file).getText('UTF-8')
            case 'junit':
                if (files('junit').any { it.text.contains('<failure') }) { worsen('UNSTABLE') }
                return null
            case 'archiveArtifacts':
                if (wanted.archive == 'broken') { throw new IOException('no space left on device') }
                return null
            case 'unstash':
                if (!trace.any { it.step == 'stash' && it.details.name == details.value }) {
                    throw new AbortException("No such saved stash '${details.value}'")
                }
                return null
            default: return null
        }
    }

    private static Object answered() {
        if (wanted.input in ['refuse', 'timeout']) { throw new FlowInterruptedException("approval: ${wanted.input}") }
        return null
    }

    private static File file(String name) { new File(wanted.workspace as String, name) }

    private static List<File> files(String part) {
        file(wanted.artifacts ?: 'bgci-artifacts').with { new File(it, part).listFiles()?.toList() ?: [] }
    }

    /** Really runs it, as Jenkins does: `sh -xe`. An abort is SIGTERM once the output has the text that is waited for. */
    private static Object shell(Map details) {
        def builder = new ProcessBuilder('sh', '-xec', details.script as String)
        builder.directory(new File(wanted.workspace as String)).redirectErrorStream(true)
        builder.environment().putAll(environment())
        def process = builder.start()
        process.outputStream.close()
        boolean aborted = false
        process.inputStream.eachLine { line ->
            System.err.println("sh | $line")
            if (wanted.abort && line.contains(wanted.abort) && !aborted) {
                aborted = true
                process.descendants().forEach { it.destroy() }
                process.toHandle().destroy()
            }
        }
        int code = process.waitFor()
        trace.last().code = code
        if (aborted) { throw new FlowInterruptedException('aborted by a person') }
        if (details.returnStatus) { return code }
        if (code) { throw new AbortException("script returned exit code $code") }
        return null
    }
}
