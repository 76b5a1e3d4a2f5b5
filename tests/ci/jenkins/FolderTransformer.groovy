import com.cloudbees.groovy.cps.CpsTransformer
import com.cloudbees.groovy.cps.SandboxCpsTransformer
import java.lang.invoke.MethodHandle
import java.lang.invoke.MethodHandles
import java.lang.invoke.MethodType
import java.lang.reflect.Field
import org.codehaus.groovy.ast.MethodNode

/**
 * The transformation of scripts in the sandbox. groovy-cps 1.31 asks its groovy-sandbox to refuse a method `finalize`,
 * which the newest groovy-sandbox on Maven Central, 1.19, cannot do yet; all else is the same. No script here has one.
 */
class FolderTransformer extends SandboxCpsTransformer {
    private static final MethodHandle WITHOUT_THAT = MethodHandles
        .privateLookupIn(SandboxCpsTransformer, MethodHandles.lookup())
        .findSpecial(CpsTransformer, 'visitMethod', MethodType.methodType(void, MethodNode), SandboxCpsTransformer)

    private static final Field VISITOR = SandboxCpsTransformer.getDeclaredField('stv').with { accessible = true; it }

    @Override
    protected void visitNontransformedMethod(MethodNode method) {
        VISITOR.get(this).visitMethod(method)
    }

    @Override
    void visitMethod(MethodNode method) {
        WITHOUT_THAT.bindTo(this).invokeWithArguments(method)
    }
}
