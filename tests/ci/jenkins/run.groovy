// Runs a Jenkinsfile with the shared library: run.groovy LIBRARY JENKINSFILE BUILD.json
// The transformation is the one inside Jenkins (groovy-cps). At every step the program is saved and loaded again, as
// when Jenkins starts anew: what cannot be serialised fails here. A library of a folder and its Jenkinsfile run in the
// sandbox of script-security, a global library does not.
import com.cloudbees.groovy.cps.Continuable
import com.cloudbees.groovy.cps.CpsTransformer
import com.cloudbees.groovy.cps.Envs
import com.cloudbees.groovy.cps.NonCPS
import com.cloudbees.groovy.cps.sandbox.DefaultInvoker
import com.cloudbees.groovy.cps.sandbox.SandboxInvoker
import groovy.json.JsonOutput
import groovy.json.JsonSlurperClassic
import java.lang.reflect.InvocationTargetException
import org.codehaus.groovy.control.CompilerConfiguration
import org.codehaus.groovy.control.customizers.ImportCustomizer
import org.jenkinsci.plugins.workflow.steps.FlowInterruptedException

def (library, jenkinsfile, build) = args.collect { new File(it) }
Build.wanted = new JsonSlurperClassic().parse(build)
def home = new File(getClass().protectionDomain.codeSource.location.toURI()).parentFile

GroovyClassLoader loaderWith(ClassLoader parent, CpsTransformer transformer) {
    def configuration = new CompilerConfiguration(scriptBaseClass: 'PipelineScript')
    configuration.addCompilationCustomizers(new ImportCustomizer().addImports(NonCPS.name), transformer)
    return new GroovyClassLoader(parent, configuration)
}

def trusted = loaderWith(getClass().classLoader, new CpsTransformer())
def loader = Build.wanted.sandbox ? loaderWith(trusted, new FolderTransformer()) : trusted
def parse = { String text, String name -> loader.parseClass(text, name).newInstance() }

Object roundTrip(Object value, ClassLoader loader) {
    def bytes = new ByteArrayOutputStream()
    new ObjectOutputStream(bytes).withCloseable { it.writeObject(value) }
    def input = new ObjectInputStream(new ByteArrayInputStream(bytes.toByteArray())) {
        @Override
        protected Class resolveClass(ObjectStreamClass description) {
            try {
                return Class.forName(description.name, false, loader)
            } catch (ClassNotFoundException ignored) {
                return super.resolveClass(description)
            }
        }
    }
    return input.readObject()
}

/** Step by step to the end; raises what the pipeline ends with. */
Object complete(Script script, ClassLoader loader) {
    try {
        def invoker = Build.wanted.sandbox ? new SandboxInvoker() : DefaultInvoker.INSTANCE
        Continuable program = new Continuable(script, Envs.empty(invoker))
        Object request = program.run(null)
        while (program.isResumable()) {
            program = roundTrip(program, loader)
            def (String step, Map details) = request
            Build.note(step, details)
            Object answer = null
            Throwable thrown = null
            try {
                answer = Build.perform(step, details)
            } catch (Exception failed) {
                thrown = failed
            }
            request = thrown ? program.runByThrow(thrown) : program.run(answer)
        }
        return request
    } catch (InvocationTargetException ended) {
        throw ended.cause
    }
}

def variables = Build.binding.variables
Build.steps = trusted.parseClass(new File(home, 'stepLibrary.groovy').text, 'stepLibrary.groovy').newInstance()
variables.putAll(none: 'none', any: 'any', scm: 'scm', params: Build.wanted.params ?: [:], env: new Environment())
new File(library, 'vars').listFiles().findAll { it.name.endsWith('.groovy') }.each { file ->
    variables[file.name - '.groovy'] = parse(file.text, file.name)
}
String problem = null
if (Build.wanted.sandbox) {
    new ScriptSecurity(loader, new File(home, 'whitelist.txt').readLines()).register()
}
try {
    complete(parse(jenkinsfile.text.replaceFirst(/@Library\(.*?\) _/, ''), 'Jenkinsfile.groovy'), loader)
} catch (FlowInterruptedException interrupted) {
    Build.worsen('ABORTED')
    problem = interrupted.message
} catch (Exception failed) {
    Build.worsen('FAILURE')
    problem = failed.message ?: failed.toString()
    if (!(failed instanceof hudson.AbortException)) { failed.printStackTrace() }
}
println JsonOutput.toJson([result: Build.status, error: problem, trace: Build.trace])
