import java.lang.reflect.Constructor
import java.lang.reflect.Method
import org.codehaus.groovy.runtime.DateGroovyMethods
import org.codehaus.groovy.runtime.DefaultGroovyMethods
import org.codehaus.groovy.runtime.EncodingGroovyMethods
import org.codehaus.groovy.runtime.ProcessGroovyMethods
import org.codehaus.groovy.runtime.StringGroovyMethods
import org.kohsuke.groovy.sandbox.GroovyInterceptor

/**
 * The sandbox of a folder's library: what script-security allows, and nothing else. Allowed is what the scripts
 * themselves define, steps and variables of the pipeline, and the signatures of the list, in script-security's own form.
 * A call is told by its most general declaration, as there: List.size is Collection.size.
 */
class ScriptSecurity extends GroovyInterceptor {
    private static final List<Class> GROOVY_METHODS = [
        DefaultGroovyMethods, StringGroovyMethods, EncodingGroovyMethods, DateGroovyMethods, ProcessGroovyMethods,
    ]
    private final ClassLoader scripts
    private final Set<String> allowed

    ScriptSecurity(ClassLoader scripts, Collection<String> signatures) {
        this.scripts = scripts
        this.allowed = signatures as Set
    }

    @Override
    Object onMethodCall(GroovyInterceptor.Invoker invoker, Object receiver, String name, Object... args) {
        Method method = declared(receiver.getClass(), name, args)
        if (method) {
            if (!(receiver instanceof PipelineScript && name == 'invokeMethod')) { require(method, 'method') }
            return super.onMethodCall(invoker, receiver, name, args)
        }
        if (receiver instanceof Number || (receiver instanceof String && name == 'plus')) { // synthetic ones
            return super.onMethodCall(invoker, receiver, name, args)
        }
        Object[] withSelf = [receiver, *args] as Object[]
        Method found = GROOVY_METHODS.findResult { type -> matching(type, name, withSelf) }
        if (found) {
            require(found, 'staticMethod')
            return super.onMethodCall(invoker, receiver, name, args)
        }
        if (receiver instanceof PipelineScript) { // a step, or a variable of the library
            return super.onMethodCall(invoker, receiver, name, args)
        }
        throw new SecurityException("Scripts not permitted to use method ${receiver.getClass().name} $name")
    }

    @Override
    Object onStaticCall(GroovyInterceptor.Invoker invoker, Class receiver, String name, Object... args) {
        require(matching(receiver, name, args), 'staticMethod', "$receiver.name $name")
        return super.onStaticCall(invoker, receiver, name, args)
    }

    @Override
    Object onNewInstance(GroovyInterceptor.Invoker invoker, Class receiver, Object... args) {
        def found = receiver.declaredConstructors.find { fits(it, args) }
        require(found, 'new', receiver.name)
        return super.onNewInstance(invoker, receiver, args)
    }

    @Override
    Object onGetProperty(GroovyInterceptor.Invoker invoker, Object receiver, String name) {
        if (receiver instanceof Script && receiver.binding.hasVariable(name) || receiver instanceof Environment) {
            return super.onGetProperty(invoker, receiver, name)
        }
        requireProperty(receiver, name, 'get', [] as Object[])
        return super.onGetProperty(invoker, receiver, name)
    }

    @Override
    Object onSetProperty(GroovyInterceptor.Invoker invoker, Object receiver, String name, Object value) {
        if (!(receiver instanceof Script) || name in ['binding', 'metaClass']) {
            requireProperty(receiver, name, 'set', [value] as Object[])
        }
        return super.onSetProperty(invoker, receiver, name, value)
    }

    @Override
    Object onGetAttribute(GroovyInterceptor.Invoker invoker, Object receiver, String name) {
        requireProperty(receiver, name, 'get', [] as Object[])
        return super.onGetAttribute(invoker, receiver, name)
    }

    @Override
    Object onSetAttribute(GroovyInterceptor.Invoker invoker, Object receiver, String name, Object value) {
        requireProperty(receiver, name, 'set', [value] as Object[])
        return super.onSetAttribute(invoker, receiver, name, value)
    }

    private void requireProperty(Object receiver, String name, String verb, Object[] args) {
        String accessor = verb + name.capitalize()
        Method method = declared(receiver.getClass(), accessor, args)
        if (method) {
            require(method, 'method')
            return
        }
        def field = types(receiver.getClass()).findResult { type -> type.declaredFields.find { it.name == name } }
        if (!field || !ofScripts(field.declaringClass)) {
            throw new SecurityException("No such field found: ${receiver.getClass().name} $name")
        }
    }

    private void require(Object found, String kind, String sought = '') {
        if (found == null) { throw new SecurityException("Scripts not permitted to use unclassified $kind $sought") }
        if (ofScripts(found.declaringClass)) { return }
        String name = found instanceof Constructor ? '' : ' ' + found.name
        String signature = "$kind ${found.declaringClass.name}$name${found.parameterTypes.collect { ' ' + it.canonicalName }.join('')}"
        if (!(signature in allowed)) { throw new SecurityException("Scripts not permitted to use $signature") }
    }

    /** Each script has a class loader of its own, below that of all. */
    private boolean ofScripts(Class type) { type.classLoader?.parent.is(scripts) || type == PipelineScript }

    private static Method declared(Class receiver, String name, Object[] args) {
        return types(receiver).findResult { type -> matching(type, name, args) }
    }

    /** The type and all that it is, the most general first. */
    private static Set<Class> types(Class type, Set<Class> found = new LinkedHashSet<>()) {
        if (type.superclass) { types(type.superclass, found) }
        type.interfaces.each { types(it, found) }
        found.add(type)
        return found
    }

    private static Method matching(Class type, String name, Object[] args) {
        def candidates = type.declaredMethods.findAll { it.name == name && fits(it, args) }
        return candidates.find { one -> candidates.every { other -> one.is(other) || closer(one, other) } } ?:
            candidates.sort { it.toString() }.find()
    }

    private static boolean fits(Object callable, Object[] args) {
        Class[] parameters = callable.parameterTypes
        if (fitsEach(parameters as List, args as List)) { return true }
        int fixed = parameters.size() - 1
        return callable.varArgs && args.size() >= fixed &&
            fitsEach(parameters.take(fixed) as List, args.take(fixed) as List) &&
            args.drop(fixed).every { accepts(parameters[fixed].componentType, it) }
    }

    private static boolean fitsEach(List<Class> parameters, List args) {
        parameters.size() == args.size() && [parameters, args].transpose().every { wanted, one -> accepts(wanted, one) }
    }

    private static boolean accepts(Class wanted, Object given) {
        if (given == null) { return !wanted.primitive }
        if (wanted.primitive) {
            return [(int): Integer, (boolean): Boolean, (long): Long, (char): Character][wanted]?.isInstance(given)
        }
        return wanted.isInstance(given) || (wanted == String && given instanceof GString)
    }

    private static boolean closer(Method one, Method other) {
        def pairs = [one.parameterTypes as List, other.parameterTypes as List].transpose()
        return pairs.any { a, b -> a != b } && pairs.every { a, b -> b.isAssignableFrom(a) }
    }
}
