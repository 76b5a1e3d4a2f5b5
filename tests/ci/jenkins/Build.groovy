import hudson.AbortException
import org.jenkinsci.plugins.workflow.steps.FlowInterruptedException

/** One build: what the test wants of it, what it did, and the steps that do something. */
class Build {
    static final List<String> ON_AGENT = [
        'sh', 'fileExists', 'readFile', 'junit', 'archiveArtifacts', 'stash', 'unstash', 'checkout',
    ]
    static Binding binding = new Binding()
    static Script steps
    static Map wanted
    static List<Map> trace = []
    static List<List<String>> environments = []
    static List<Agent> agents = []
    static int started = 0
    static String status = 'SUCCESS'

    static void note(String step, Object details = null) {
        trace << [step: step, details: details, node: !agents.isEmpty()]
    }

    static void worsen(String other) {
        def order = ['SUCCESS', 'UNSTABLE', 'FAILURE', 'ABORTED']
        if (order.indexOf(other) > order.indexOf(status)) { status = other }
    }

    static File home() { new File(wanted.home as String) }

    /** Each agent is another one, with an empty workspace. */
    static void startAgent() {
        if (wanted.abortAtNode == trace.count { it.step == 'node' }) {
            throw new FlowInterruptedException('aborted while it waits for an agent')
        }
        def workspace = new File(home(), "agent-${++started}")
        workspace.mkdirs()
        agents.add(new Agent(name: workspace.name, workspace: workspace))
    }

    static void endAgents(int left) {
        while (agents.size() > left) { agents.remove(agents.size() - 1) }
    }

    static Agent agent() { agents ? agents.last() : new Agent(name: 'built-in', workspace: home()) }

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
        if (step in ON_AGENT && agent().lost) {
            throw new IOException("Unable to create live FilePath for ${agent().name}; it was marked offline")
        }
        switch (step) {
            case 'sh': return shell(details)
            case 'input': return answered()
            case 'fileExists': return agent().file(details.value).exists()
            case 'readFile': return agent().file(details.file).getText('UTF-8')
            case 'checkout': return Files.copy(new File(wanted.scm as String), agent().directory())
            case 'stash': return stashed(details)
            case 'unstash': return unstashed(details.value)
            case 'junit':
                if (Files.matching(agent().directory(), details.testResults).any { it.text.contains('<failure') }) {
                    worsen('UNSTABLE')
                }
                return null
            case 'archiveArtifacts':
                if (wanted.archive == 'broken') { throw new IOException('no space left on device') }
                return null
            default: return null
        }
    }

    private static Object answered() {
        if (wanted.input in ['refuse', 'timeout']) { throw new FlowInterruptedException("approval: ${wanted.input}") }
        if (wanted.input == 'swap') { // somebody puts the artifacts of another build in place of the stashed ones
            Files.matching(new File(home(), 'stashes'), '**/manifest.json').each { it.text = '{"revision": "other"}' }
        }
        return null
    }

    private static Object stashed(Map details) {
        def found = Files.matching(agent().directory(), details.includes)
        if (!found && !details.allowEmpty) { throw new AbortException('No files included in stash') }
        Files.copyEach(found, agent().directory(), new File(home(), "stashes/${details.name}"))
        return null
    }

    private static Object unstashed(String name) {
        def stash = new File(home(), "stashes/$name")
        if (!stash.exists()) { throw new AbortException("No such saved stash '$name'") }
        Files.copyEach(Files.matching(stash, '**'), stash, agent().directory())
        return null
    }

    /**
     * Really runs it, as Jenkins does: `sh -xe`. Once the output has the text that is waited for, an abort is SIGTERM,
     * and the loss of the agent is the end of all that runs there.
     */
    private static Object shell(Map details) {
        def builder = new ProcessBuilder('sh', '-xec', details.script as String)
        builder.directory(agent().directory()).redirectErrorStream(true)
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
            } else if (wanted.lose && line.contains(wanted.lose) && !agent().lost && agents) {
                agent().lost = true
                process.descendants().forEach { it.destroyForcibly() }
                process.toHandle().destroyForcibly()
            }
        }
        int code = process.waitFor()
        if (agent().lost) { throw new FlowInterruptedException('the agent was removed') }
        trace.last().code = code
        if (aborted) { throw new FlowInterruptedException('aborted by a person') }
        if (details.returnStatus) { return code }
        if (code) { throw new AbortException("script returned exit code $code") }
        return null
    }
}
