// The steps of Jenkins. This script is transformed as pipelines are, so that blocks can be saved in their midst.
import com.cloudbees.groovy.cps.Continuable
import hudson.AbortException
import org.jenkinsci.plugins.workflow.steps.FlowInterruptedException

// -- steps without a block: the build stops here, is saved, loaded, and goes on with the step's answer -------------

def sh(Map given) { return Continuable.suspend(['sh', given]) }
def input(Map given) { return Continuable.suspend(['input', given]) }
def junit(Map given) { return Continuable.suspend(['junit', given]) }
def archiveArtifacts(Map given) { return Continuable.suspend(['archiveArtifacts', given]) }
def readFile(Map given) { return Continuable.suspend(['readFile', given]) }
def fileExists(String path) { return Continuable.suspend(['fileExists', [value: path]]) }
def stash(Map given) { return Continuable.suspend(['stash', given]) }
def unstash(String name) { return Continuable.suspend(['unstash', [value: name]]) }
def checkout(Object from) { return Continuable.suspend(['checkout', [value: from]]) }
def echo(String text) { return Continuable.suspend(['echo', [value: text]]) }
def milestone() { return Continuable.suspend(['milestone', [:]]) }
def deleteDir() { return Continuable.suspend(['deleteDir', [:]]) }
def error(String message) { throw new AbortException(message) }

// -- credentials ---------------------------------------------------------------------------------------------------

def usernamePassword(Map m) { m + [kind: 'usernamePassword'] }
def string(Map m) { m + [kind: 'string'] }
def file(Map m) { m + [kind: 'file'] }
def withCredentials(List bindings, Closure body) {
    Build.note('withCredentials', bindings)
    List lines = []
    for (int i = 0; i < bindings.size(); i++) {
        Map one = bindings[i]
        Map secret = Build.wanted.credentials[one.credentialsId]
        if (!secret) {
            throw new AbortException('Could not find credentials entry with ID ' + one.credentialsId)
        }
        lines.addAll(one.kind == 'usernamePassword'
            ? [one.usernameVariable + '=' + secret.username, one.passwordVariable + '=' + secret.password]
            : [one.variable + '=' + secret[one.kind]])
    }
    withEnv(lines, body)
}

// -- steps with a block --------------------------------------------------------------------------------------------

def withEnv(List lines, Closure body) {
    Build.environments.add(lines)
    try {
        return body()
    } finally {
        Build.environments.remove(Build.environments.size() - 1)
    }
}
def node(Object label = '', Closure body) {
    Build.note('node', label)
    int before = Build.agents.size()
    Build.startAgent()
    try {
        return body()
    } finally {
        Build.endAgents(before)
    }
}
def stage(String name, Closure body) {
    Build.note('stage', name)
    int before = Build.agents.size()
    try {
        return body()
    } finally {
        Build.endAgents(before) // a stage's own agent, in a declarative pipeline
    }
}
def dir(String path, Closure body) {
    Build.agent().directories.add(path)
    try {
        return body()
    } finally {
        Build.agent().directories.remove(Build.agent().directories.size() - 1)
    }
}
def parallel(Map branches) { // one after the other: what fails does so at the end, as in Jenkins
    Exception first = null
    List names = new ArrayList(branches.keySet())
    for (int i = 0; i < names.size(); i++) {
        if (!(branches[names[i]] instanceof Closure)) { continue }
        try {
            branches[names[i]]()
        } catch (Exception caught) {
            first = first ?: caught
        }
    }
    if (first) { throw first }
}
def lock(Map given, Closure body = null) {
    Build.note('lock', given)
    if (body) { return body() }
}
def timeout(Map given, Closure body = null) {
    Build.note('timeout', given)
    if (body) { return body() }
}
def catchError(Map given, Closure body) {
    try {
        body()
    } catch (FlowInterruptedException interrupted) {
        if (given.catchInterruptions == false) { throw interrupted }
    } catch (Exception caught) {
        Build.note('caught', (given.message ?: '') + ' ' + caught.message)
        Build.worsen(given.buildResult)
    }
}

// -- declarative: enough of it for the examples --------------------------------------------------------------------

def agent(Object where) {
    if (where instanceof Closure) { where() }
    if (where != 'none') {
        Build.startAgent()
        checkout(null) // declarative pipelines do so by themselves
    }
}
def label(String name) { Build.note('agent', name) }
def pipeline(Closure body) {
    body()
    if (Build.binding.variables.failure) { throw Build.binding.variables.failure }
}
def environment(Closure body) {
    List before = Build.names()
    body()
    Build.environments.add(Build.assignedSince(before))
}
def parameters(Closure body) { }
def options(Closure body) { body() }
def disableConcurrentBuilds() { }
def stages(Closure body) {
    try {
        body()
    } catch (Exception caught) {
        Build.binding.setVariable('failure', caught)
    }
}
def steps(Closure body) { body() }
def script(Closure body) { body() }
def post(Closure body) { body() }
def unsuccessful(Closure body) {
    if (Build.binding.variables.failure) { body() }
}
