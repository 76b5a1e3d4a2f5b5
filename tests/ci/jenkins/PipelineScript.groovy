import org.codehaus.groovy.runtime.InvokerHelper

/** The base of every script, as Jenkins' CpsScript: unknown names are global variables of the library, or steps. */
abstract class PipelineScript extends Script implements Serializable {
    PipelineScript() { super(Build.binding) }

    /** Loaded again: what belongs to the build is not saved with every script. */
    protected Object readResolve() {
        binding = Build.binding
        return this
    }

    @Override
    Object invokeMethod(String name, Object args) {
        try {
            return metaClass.invokeMethod(this, name, args)
        } catch (MissingMethodException missing) {
            if (missing.method != name || getClass() == Build.steps.getClass()) { throw missing }
            def variable = Build.binding.variables[name]
            return variable instanceof Script
                ? InvokerHelper.invokeMethod(variable, 'call', args) : InvokerHelper.invokeMethod(Build.steps, name, args)
        }
    }
}
